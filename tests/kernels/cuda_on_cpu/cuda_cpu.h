// Runs CUDA C++ kernels on the CPU, so that a .cu file can be tested, and its bugs caught, on a machine without a GPU.
//
// Every CUDA thread is a fiber. Three ways to run, chosen when compiling:
//   (nothing)          blocks are shared out over the cores; fastest
//   CUDA_CPU_CHECK     one block at a time; shared memory begins as NaNs, so that what nobody wrote is seen to be read; `order`
//                      changes which thread of a block runs first, so that a missing barrier changes the answer
//   CUDA_CPU_RACES     one block at a time, for ThreadSanitizer, which is told what a barrier orders and that nothing else does:
//                      two threads of the grid that touch the same value, one of them to write it, are reported, whether or not
//                      they came close to each other in this run
// AddressSanitizer and UndefinedBehaviorSanitizer work with the first two. In each of them it is seen and said when a barrier is not
// reached by all threads, or when they wait at different ones.
//
// Limits: no dynamic shared memory, no cp.async, no tensor cores, fast intrinsics at the precision of the host, atomics that order
// nothing else, and nothing about speed.
#pragma once
#include <bit>  // few and light ones: each test compiles them again
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <pthread.h>
#include <sys/mman.h>
#include <type_traits>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __noinline__ __attribute__((noinline))
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __restrict__ __restrict
#ifdef CUDA_CPU_CHECK
#define __shared__ static __attribute__((section("cuda_shared")))  // one range, which can be poisoned
#else
#define __shared__ static thread_local
#endif

#ifdef CUDA_CPU_RACES
#define CUDA_CPU_UNWATCHED __attribute__((no_sanitize("thread"), noinline))  // what runs the fibers is not what is looked at
extern "C" {  // sanitizer/tsan_interface.h, which not every compiler brings along
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#else
#define CUDA_CPU_UNWATCHED
#endif

struct dim3 { unsigned x = 1, y = 1, z = 1; };

namespace cuda_cpu {

constexpr unsigned WARP = 32;
constexpr size_t STACK = 64 << 10;

struct Block;

struct Thread {
    dim3 index;
    unsigned linear = 0;
    Block* block = nullptr;
    ucontext_t context;
    void* watched = nullptr;  // as ThreadSanitizer knows this fiber
    bool done = false, begun = false;
};

// What happened before a barrier happened before what comes after it. Two of them take turns, so that a thread which is late to
// leave one barrier does not learn what the others did on their way to the next.
struct Order {
    uint64_t turn[2] = {};
#ifdef CUDA_CPU_RACES
    void arrive(unsigned generation) { __tsan_release(&turn[generation % 2]); }
    void leave(unsigned generation) { __tsan_acquire(&turn[generation % 2]); }
#else
    void arrive(unsigned) {}
    void leave(unsigned) {}
#endif
};

struct Warp {
    uint64_t slot[WARP];
    unsigned arrived = 0, generation = 0;
    Order order;
};

struct Block {
    unsigned size = 0, live = 0, waiting = 0, generation = 0, blocked = 0;
    int line = 0;  // of the barrier that some threads wait at
    std::vector<Warp> warps;
    ucontext_t scheduler;
    Order order;
    void* watched = nullptr;
    CUDA_CPU_UNWATCHED unsigned long progress() const {
        unsigned long steps = generation + size - live;
        for (auto& warp : warps) steps += warp.generation;
        return steps;
    }
};

inline thread_local Thread* self = nullptr;
inline thread_local dim3 block_index, block_size, grid_size;
inline Order grid_order;
#ifdef CUDA_CPU_RACES
// So many threads at a time are watched as strangers to each other; those of the blocks that follow come after all of them.
// ThreadSanitizer could tell 8,128 apart, but takes 0.4 ms to get to know one.
constexpr size_t WATCHED = 1024;
inline std::vector<void*> watched_fibers;
inline size_t watched = 0;
#endif

CUDA_CPU_UNWATCHED inline dim3 thread_index() { return self->index; }
CUDA_CPU_UNWATCHED inline unsigned lane() { return self->linear % WARP; }

[[noreturn]] inline void die(const char* what) {
    std::fprintf(stderr, "cuda_on_cpu: %s (block %u, %u)\n", what, block_index.x, block_index.y);
    std::abort();
}

// ---- barriers ----------------------------------------------------------------------------------------------------------------

CUDA_CPU_UNWATCHED inline void pause() {  // lets the other fibers of the block run
    Thread* thread = self;
#ifdef CUDA_CPU_RACES
    __tsan_switch_to_fiber(thread->block->watched, 1);  // 1: the switch orders nothing
#endif
    swapcontext(&thread->context, &thread->block->scheduler);
}

CUDA_CPU_UNWATCHED inline void resume(Thread* thread) {
    self = thread;
#ifdef CUDA_CPU_RACES
    __tsan_switch_to_fiber(thread->watched, thread->begun);  // it comes after the grid was launched, and after nothing else
    thread->begun = true;
#endif
    swapcontext(&thread->block->scheduler, &thread->context);
}

CUDA_CPU_UNWATCHED inline void wait_while(const unsigned& generation, unsigned value) {
    Block* block = self->block;
    ++block->blocked;
    while (generation == value) pause();
    --block->blocked;
}

CUDA_CPU_UNWATCHED inline void sync_threads(int line) {
    Block* block = self->block;
    if (block->waiting && block->line != line) {
        std::fprintf(stderr, "cuda_on_cpu: lines %d and %d: ", block->line, line);
        die("threads of one block wait at different barriers");
    }
    block->line = line;
    const unsigned generation = block->generation;
    block->order.arrive(generation);
    if (++block->waiting == block->size) {
        block->waiting = 0;
        ++block->generation;
    } else {
        wait_while(block->generation, generation);
    }
    block->order.leave(generation);
}

CUDA_CPU_UNWATCHED inline void sync_warp(unsigned mask) {
    Block* block = self->block;
    const unsigned number = self->linear / WARP;
    Warp& warp = block->warps[number];
    const unsigned lane = self->linear % WARP, generation = warp.generation;
    if (!(mask >> lane & 1)) die("a lane is not in its own mask");
    const unsigned rest = block->size - number * WARP, lanes = rest < WARP ? rest : WARP;
    const unsigned needed = lanes == WARP ? mask : mask & ((1u << lanes) - 1);
    warp.order.arrive(generation);
    warp.arrived |= 1u << lane;
    if ((warp.arrived & needed) == needed) {
        warp.arrived &= ~needed;
        ++warp.generation;
    } else {
        wait_while(warp.generation, generation);
    }
    warp.order.leave(generation);
}

template <class T> CUDA_CPU_UNWATCHED T exchange(unsigned mask, T value, unsigned source) {
    static_assert(sizeof(T) <= 8);
    Warp& warp = self->block->warps[self->linear / WARP];
    uint64_t raw = 0;
    std::memcpy(&raw, &value, sizeof value);
    warp.slot[self->linear % WARP] = raw;
    sync_warp(mask);
    raw = warp.slot[source % WARP];
    sync_warp(mask);
    T received;
    std::memcpy(&received, &raw, sizeof received);
    return received;
}

// ---- running a block, and a grid of them -------------------------------------------------------------------------------------

#ifdef CUDA_CPU_CHECK
extern "C" {
extern volatile char __start_cuda_shared[] __attribute__((weak));
extern volatile char __stop_cuda_shared[] __attribute__((weak));
}
// AddressSanitizer keeps room between the arrays that nobody may touch, and this does; volatile, so that it is no memset to watch.
__attribute__((no_sanitize("address"))) inline void poison_shared() {
    for (volatile char* byte = __start_cuda_shared; byte != __stop_cuda_shared; ++byte) *byte = char(0xff);
}
#endif

inline std::vector<unsigned> turns(unsigned size, unsigned order) {  // 0: ascending, 1: descending, else: shuffled by that seed
    std::vector<unsigned> sequence(size);
    for (unsigned i = 0; i < size; ++i) sequence[i] = order == 1 ? size - 1 - i : i;
    uint64_t state = order;
    for (unsigned i = size; order > 1 && i > 1; --i) {
        state = state * 6364136223846793005ull + 1;
        std::swap(sequence[i - 1], sequence[(state >> 33) % i]);
    }
    return sequence;
}

inline char* stacks_for(size_t fibers) {
    void* memory = mmap(nullptr, fibers * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) die("no memory for the fibers' stacks");
    return (char*)memory;
}

// The last thing that a fiber does.
CUDA_CPU_UNWATCHED inline void finish() {
    Thread* thread = self;
    thread->done = true;
    --thread->block->live;
#ifdef CUDA_CPU_RACES
    grid_order.arrive(0);
    __tsan_switch_to_fiber(thread->block->watched, 1);
#endif
    setcontext(&thread->block->scheduler);
}

template <class Body> CUDA_CPU_UNWATCHED void run_block(Body& body, dim3 shape, unsigned order) {
    const unsigned size = shape.x * shape.y * shape.z;
    static thread_local std::vector<Thread> threads;
#ifdef CUDA_CPU_CHECK
    poison_shared();
#endif
    Block block;
    block.size = block.live = size;
    block.warps.resize((size + WARP - 1) / WARP);
    threads.resize(size);
    for (unsigned i = 0; i < size; ++i) {
        threads[i].index = { i % shape.x, i / shape.x % shape.y, i / (shape.x * shape.y) };
        threads[i].linear = i;
        threads[i].block = &block;
        threads[i].done = false;
    }
#ifdef CUDA_CPU_RACES
    static char* const every_stack = stacks_for(WATCHED);
    char* const stacks = every_stack + watched * STACK;  // none is used twice before the two users are in order
#else
    static thread_local char* stacks = nullptr;
    static thread_local unsigned stacked = 0;
    if (stacked < size) {
        if (stacks) munmap(stacks, stacked * STACK);
        stacks = stacks_for(size);
        stacked = size;
    }
#endif
    static thread_local Body* entry;
    entry = &body;
#ifdef CUDA_CPU_RACES
    block.watched = __tsan_get_current_fiber();
#endif
    for (unsigned i = 0; i < size; ++i) {
        getcontext(&threads[i].context);
        threads[i].context.uc_stack = { stacks + i * STACK, 0, STACK };
        threads[i].context.uc_link = nullptr;
#ifdef CUDA_CPU_RACES
        if (watched == watched_fibers.size()) watched_fibers.push_back(__tsan_create_fiber(0));
        threads[i].watched = watched_fibers[watched++];
        threads[i].begun = false;
#endif
        void (*start)() = [] {
            (*entry)();
            finish();
        };
        makecontext(&threads[i].context, start, 0);
    }
    const auto sequence = turns(size, order);
    while (block.live) {
        const unsigned long before = block.progress();
        for (unsigned i : sequence)
            if (!threads[i].done) resume(&threads[i]);
        if (block.live && block.progress() == before && block.blocked == block.live)
            die("deadlock: threads wait at a barrier that the others never reach");
    }
}

template <class Work> pthread_t begun(Work& work) {
    pthread_t thread;
    if (pthread_create(&thread, nullptr, [](void* w) -> void* { return (*static_cast<Work*>(w))(), nullptr; }, &work))
        die("no thread to be had");
    return thread;
}

template <class... Args, size_t... I>
void launch(void (*kernel)(Args...), dim3 grid, dim3 block, void** args, unsigned workers, unsigned order, std::index_sequence<I...>) {
    auto body = [&] { kernel(*static_cast<std::remove_cv_t<std::remove_reference_t<Args>>*>(args[I])...); };
    const unsigned long total = (unsigned long)grid.x * grid.y * grid.z;
    unsigned long next = 0;
    auto work = [&] {
        for (unsigned long i; (i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < total;) {
            block_index = { unsigned(i % grid.x), unsigned(i / grid.x % grid.y), unsigned(i / (1ul * grid.x * grid.y)) };
            block_size = block;
            grid_size = grid;
            run_block(body, block, order);
#ifdef CUDA_CPU_RACES
            return;  // a block a thread of the operating system, with shared memory of its own
#endif
        }
    };
#ifdef CUDA_CPU_CHECK
    workers = 1;  // blocks share the one poisoned range
#endif
#ifdef CUDA_CPU_RACES
    for (unsigned long i = 0; i < total; ++i) {
        pthread_join(begun(work), nullptr);
        if (watched + block.x * block.y * block.z <= WATCHED && i + 1 < total) continue;
        grid_order.leave(0);
        watched = 0;
    }
#else
    std::vector<pthread_t> pool;
    for (unsigned i = 1; i < workers; ++i) pool.push_back(begun(work));
    work();
    for (pthread_t thread : pool) pthread_join(thread, nullptr);
#endif
}

template <class... Args>
void launch(void (*kernel)(Args...), dim3 grid, dim3 block, void** args, unsigned workers, unsigned order) {
    launch(kernel, grid, block, args, workers, order, std::index_sequence_for<Args...>{});
}

}  // namespace cuda_cpu

// ---- what a kernel sees ------------------------------------------------------------------------------------------------------

#define threadIdx (::cuda_cpu::thread_index())
#define blockIdx (::cuda_cpu::block_index)
#define blockDim (::cuda_cpu::block_size)
#define gridDim (::cuda_cpu::grid_size)
#define warpSize 32

using std::copysign, std::exp, std::fabs, std::floor, std::fmax, std::fmin, std::log, std::log1p, std::sqrt;  // float as float
using std::isfinite, std::isinf, std::isnan;

#define __syncthreads() ::cuda_cpu::sync_threads(__LINE__)
inline void __syncwarp(unsigned mask = 0xffffffffu) { cuda_cpu::sync_warp(mask); }
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    const unsigned lane = cuda_cpu::lane();
    return cuda_cpu::exchange(mask, value, (lane & ~(width - 1)) | (source & (width - 1)));
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    const unsigned lane = cuda_cpu::lane(), source = lane + delta;
    return cuda_cpu::exchange(mask, value, source / width == lane / width ? source : lane);
}
template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    const unsigned lane = cuda_cpu::lane();
    return cuda_cpu::exchange(mask, value, lane % width >= delta ? lane - delta : lane);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
    const unsigned lane = cuda_cpu::lane(), source = lane ^ bits;
    return cuda_cpu::exchange(mask, value, source / width == lane / width ? source : lane);
}

// Any change of one value at once; the value before. Orders nothing else, as on a GPU.
template <class T, class Change> T atomically(T* p, Change change) {
    T old, changed;
    __atomic_load(p, &old, __ATOMIC_RELAXED);
    do changed = change(old);
    while (!__atomic_compare_exchange(p, &old, &changed, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}
template <class T> T atomicAdd(T* p, std::type_identity_t<T> value) {
    return atomically(p, [value](T old) { return T(old + value); });
}
template <class T> T atomicExch(T* p, std::type_identity_t<T> value) {
    return atomically(p, [value](T) { return value; });
}
template <class T> T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
    return atomically(p, [=](T old) { return old == expected ? value : old; });
}
template <class T> T atomicMin(T* p, std::type_identity_t<T> value) {
    return atomically(p, [value](T old) { return value < old ? value : old; });
}
template <class T> T atomicMax(T* p, std::type_identity_t<T> value) {
    return atomically(p, [value](T old) { return value > old ? value : old; });
}

inline float __int_as_float(int value) { return std::bit_cast<float>(value); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline float __uint_as_float(unsigned value) { return std::bit_cast<float>(value); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline int __popc(unsigned value) { return std::popcount(value); }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __clz(int value) { return value ? __builtin_clz(value) : 32; }
template <class T> T __ldg(const T* p) { return *p; }

// ---- what the loader calls ---------------------------------------------------------------------------------------------------

#define CUDA_CPU_EXPORT(kernel)                                                                                                  \
    extern "C" void launch_##kernel(unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, void** args,   \
                                    unsigned workers, unsigned order) {                                                          \
        ::cuda_cpu::launch(kernel, dim3{gx, gy, gz}, dim3{bx, by, bz}, args, workers, order);                                    \
    }
