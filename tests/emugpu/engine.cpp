// Runs the blocks of a grid one after the other on each of a few workers (OpenMP threads), and the
// threads of a block as fibers of one worker.
//
// A fiber runs thread after thread, and is kept by a thread only when that thread waits at a
// barrier: a kernel without barriers never switches.  When every thread of the block waits, or
// has ended, the fibers continue in turn.
//
// The engine itself is never instrumented.  It tells AddressSanitizer and ThreadSanitizer, where
// they are loaded, about its fibers.  To the latter each thread of the device is concurrent with
// all others, barriers excepted: one run shows every race, whatever the order of execution.
#include "engine.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <vector>

#ifndef __x86_64__
#error "the switch between fibers is written for x86-64"
#endif

extern "C" {
void emu_switch(void** save, void* to);
void* __tls_get_addr(size_t* module_and_offset);

#define OPTIONAL __attribute__((weak))
OPTIONAL void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom, size_t size);
OPTIONAL void __sanitizer_finish_switch_fiber(void* fake_stack, const void** bottom, size_t* size);
OPTIONAL void* __tsan_get_current_fiber();
OPTIONAL void* __tsan_create_fiber(unsigned flags);
OPTIONAL void __tsan_destroy_fiber(void* fiber);
OPTIONAL void __tsan_switch_to_fiber(void* fiber, unsigned flags);
OPTIONAL void __tsan_acquire(void* key);
OPTIONAL void __tsan_release(void* key);
}

// Pushes the registers that a call keeps, and takes those of the other stack.
asm(R"(
    .text
    .globl emu_switch
    .type emu_switch, @function
emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

namespace emu {

EMU_THREAD_LOCAL Thread* current;
EMU_THREAD_LOCAL uint3 block_index;
EMU_THREAD_LOCAL dim3 block_size;
EMU_THREAD_LOCAL dim3 grid_size;
EMU_THREAD_LOCAL char* dynamic_shared;
EMU_THREAD_LOCAL uint64_t* exchange;

namespace {

constexpr size_t stack_bytes = 128 * 1024;
constexpr unsigned max_threads = 1024, warp_size = 32;
constexpr int poison = 0xFF;  // a NaN in every floating-point type

enum class State { running, at_barrier, at_warp_barrier, ended };

struct Fiber {
    void* stack_pointer;
    char* stack;
    Thread thread;
    State state;
    Site site;
    unsigned barriers, warp_barriers;  // passed so far
    void* tsan;
    void* fake_stack;
};

// A numbering of n things: the k-th is (stride * k + offset) mod n.
struct Permutation {
    uint64_t n, stride, offset;

    uint64_t operator()(uint64_t k) const { return (stride * k + offset) % n; }
};

Permutation permutation(Order order, uint64_t n, unsigned seed)
{
    if (order == Order::forward) return {n, 1, 0};
    if (order == Order::reversed) return {n, n - 1, n - 1};
    uint64_t random = (seed + 1) * 0x9E3779B97F4A7C15u >> 16;
    uint64_t stride = random % n + 1;
    while (std::gcd(stride, n) != 1) ++stride;
    return {n, stride % n, random / 7 % n};
}

bool racing() { return __tsan_switch_to_fiber != nullptr; }
bool sanitized() { return racing() || __sanitizer_start_switch_fiber; }

void acquire(void* key)
{
    if (__tsan_acquire) __tsan_acquire(key);
}

void release(void* key)
{
    if (__tsan_release) __tsan_release(key);
}

// Keys of "happens before": between one launch and the next, and between the blocks of a kernel
// with shared memory, which all use the same one (a race between these is not seen).  Two keys in
// turn: with one, the threads of a launch (block) would also follow each other.
char launch_keys[2], block_keys[2];
uint64_t launch_number;

// Not memset, whose calls the sanitizers watch: between shared arrays lies what they guard.
void fill_with_poison(char* begin, size_t bytes)
{
    asm volatile("rep stosb" : "+D"(begin), "+c"(bytes) : "a"(poison) : "memory");
}

class Worker {
  public:
    void begin(const Launch& launch);
    void run_block(uint64_t number);
    void wait(State at, Site site);

  private:
    Fiber* fresh_fiber();
    void prepare_shared_memory();
    void start_threads();
    void check_barrier();
    void resume_waiting();
    void resume(Fiber* fiber);
    void suspend();
    void run_threads();
    void run_thread(uint64_t number);
    char* key(Fiber* fiber, State at);
    [[noreturn]] void fail(const char* format, int line, int other_line = 0);

    static void fiber_main();

    const Launch* launch = nullptr;
    Permutation thread_order{};
    uint64_t next = 0, threads = 0, block_number = 0;
    std::vector<char> dynamic_memory;
    std::vector<uint64_t> exchange_slots;
    std::vector<char> barrier_keys;
    std::vector<Fiber*> idle, waiting, turn;
    Fiber* active = nullptr;
    void* stack_pointer = nullptr;  // of the worker itself, while a fiber runs
    void* tsan = nullptr;
    const void* stack_bottom = nullptr;
    size_t stack_size = 0;
};

thread_local Worker worker;

void Worker::fail(const char* format, int line, int other_line)
{
    fprintf(stderr, "emulated device: kernel %s, block (%u, %u, %u): ", launch->name,
            block_index.x, block_index.y, block_index.z);
    fprintf(stderr, format, line, other_line);
    fputc('\n', stderr);
    fflush(stderr);
    abort();
}

void Worker::begin(const Launch& new_launch)
{
    launch = &new_launch;
    block_size = launch->block;
    grid_size = launch->grid;
    threads = uint64_t(block_size.x) * block_size.y * block_size.z;
    thread_order = permutation(launch->order, threads, launch->seed);
    dynamic_memory.resize(launch->dynamic_shared + 64);
    uintptr_t start = reinterpret_cast<uintptr_t>(dynamic_memory.data());
    dynamic_shared = reinterpret_cast<char*>((start + 63) & ~uintptr_t(63));
    exchange_slots.resize(max_threads);
    exchange = exchange_slots.data();
    if (__tsan_get_current_fiber) tsan = __tsan_get_current_fiber();
}

void Worker::prepare_shared_memory()
{
    SharedMemory shared = launch->shared;
    if (shared.tls_module) {
        size_t start[2] = {shared.tls_module, 0};
        shared.begin = static_cast<char*>(__tls_get_addr(start));
    }
    fill_with_poison(shared.begin, shared.bytes);
    fill_with_poison(dynamic_shared, launch->dynamic_shared);
}

void Worker::run_block(uint64_t number)
{
    const dim3& grid = launch->grid;
    block_index.x = number % grid.x;
    block_index.y = number / grid.x % grid.y;
    block_index.z = number / grid.x / grid.y;
    ++block_number;
    barrier_keys.assign(2 + 2 * max_threads / warp_size, 0);
    prepare_shared_memory();
    start_threads();
    while (!waiting.empty()) {
        check_barrier();
        resume_waiting();
    }
}

void Worker::start_threads()
{
    next = 0;
    while (next < threads) {
        Fiber* fiber = fresh_fiber();
        resume(fiber);
        (fiber->state == State::ended ? idle : waiting).push_back(fiber);
    }
}

// From compute capability 7.0 a barrier of the block does without the threads that have ended.
// CuPy's kernels count on it; the project's have no need to, and there it is a mistake.
bool may_end_before_barrier(const char* kernel) { return strncmp(kernel, "cupy_", 5) == 0; }

// At a barrier of the block all its threads wait, and at the same one.
void Worker::check_barrier()
{
    for (Fiber* fiber : waiting) {
        if (fiber->state == State::at_warp_barrier) return;  // these continue first
    }
    Site site = waiting[0]->site;
    if (waiting.size() != threads && !may_end_before_barrier(launch->name))
        fail("some threads ended before the __syncthreads() of line %d", site.line);
    for (Fiber* fiber : waiting) {
        if (fiber->site.number != site.number)
            fail("threads wait at the __syncthreads() of lines %d and %d", site.line,
                 fiber->site.line);
    }
}

// The threads at a barrier of their warp continue, or all when there are none.
void Worker::resume_waiting()
{
    turn.clear();
    for (Fiber* fiber : waiting) {
        if (fiber->state == State::at_warp_barrier) turn.push_back(fiber);
    }
    if (turn.empty()) turn = waiting;
    for (Fiber* fiber : turn) resume(fiber);
    turn.clear();
    for (Fiber* fiber : waiting) (fiber->state == State::ended ? idle : turn).push_back(fiber);
    waiting.swap(turn);
}

Fiber* Worker::fresh_fiber()
{
    Fiber* fiber = nullptr;
    if (!idle.empty()) {
        fiber = idle.back();
        idle.pop_back();
        if (!racing()) return fiber;
        // The addresses of a stack in use again would look like a race.
        __tsan_destroy_fiber(fiber->tsan);
        free(fiber->stack);
        delete fiber;
    }
    fiber = new Fiber();
    fiber->stack = static_cast<char*>(aligned_alloc(64, stack_bytes));
    if (racing()) fiber->tsan = __tsan_create_fiber(0);
    void** top = reinterpret_cast<void**>(fiber->stack + stack_bytes);
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(&fiber_main);
    for (int saved_register = 0; saved_register < 6; ++saved_register) *--top = nullptr;
    fiber->stack_pointer = top;
    return fiber;
}

void Worker::resume(Fiber* fiber)
{
    constexpr unsigned no_sync = 1;
    active = fiber;
    fiber->state = State::running;
    current = &fiber->thread;
    void* fake_stack = nullptr;
    if (racing()) __tsan_switch_to_fiber(fiber->tsan, no_sync);
    if (__sanitizer_start_switch_fiber)
        __sanitizer_start_switch_fiber(&fake_stack, fiber->stack, stack_bytes);
    emu_switch(&stack_pointer, fiber->stack_pointer);
    if (__sanitizer_finish_switch_fiber)
        __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
}

// Back to the worker, until it resumes the fiber.
void Worker::suspend()
{
    constexpr unsigned no_sync = 1;
    Fiber* fiber = active;
    if (racing()) __tsan_switch_to_fiber(tsan, no_sync);
    if (__sanitizer_start_switch_fiber)
        __sanitizer_start_switch_fiber(&fiber->fake_stack, stack_bottom, stack_size);
    emu_switch(&fiber->stack_pointer, stack_pointer);
    if (__sanitizer_finish_switch_fiber)
        __sanitizer_finish_switch_fiber(fiber->fake_stack, &stack_bottom, &stack_size);
}

void Worker::fiber_main()
{
    if (__sanitizer_finish_switch_fiber)
        __sanitizer_finish_switch_fiber(nullptr, &worker.stack_bottom, &worker.stack_size);
    for (;;) {
        worker.run_threads();
        worker.active->state = State::ended;
        worker.suspend();
    }
}

void Worker::run_threads()
{
    while (next < threads) {
        run_thread(thread_order(next++));
        if (racing()) return;  // a fiber for each thread
    }
}

void Worker::run_thread(uint64_t number)
{
    Fiber* fiber = active;
    fiber->thread.number = number;
    fiber->thread.index.x = number % block_size.x;
    fiber->thread.index.y = number / block_size.x % block_size.y;
    fiber->thread.index.z = number / block_size.x / block_size.y;
    fiber->barriers = fiber->warp_barriers = 0;
    acquire(&launch_keys[(launch_number + 1) & 1]);
    if (launch->shares) acquire(&block_keys[(block_number + 1) & 1]);
    launch->kernel(launch->arguments);
    if (launch->shares) release(&block_keys[block_number & 1]);
    release(&launch_keys[launch_number & 1]);
}

// Two keys in turn for each barrier: with one, a write after a read would seem ordered by the
// next barrier, which comes too late.
char* Worker::key(Fiber* fiber, State at)
{
    if (at == State::at_barrier) return &barrier_keys[fiber->barriers & 1];
    return &barrier_keys[2 + fiber->thread.number / warp_size * 2 + (fiber->warp_barriers & 1)];
}

void Worker::wait(State at, Site site)
{
    Fiber* fiber = active;
    fiber->site = site;
    fiber->state = at;
    char* barrier_key = key(fiber, at);
    release(barrier_key);
    suspend();
    acquire(barrier_key);
    ++(at == State::at_barrier ? fiber->barriers : fiber->warp_barriers);
}

}  // namespace

void block_barrier(Site site) { worker.wait(State::at_barrier, site); }
void warp_barrier() { worker.wait(State::at_warp_barrier, {}); }

void run(const Launch& launch)
{
    uint64_t blocks = uint64_t(launch.grid.x) * launch.grid.y * launch.grid.z;
    Permutation block_order = permutation(launch.order, blocks, launch.seed);
    bool alone = sanitized() || blocks < 4;
    ++launch_number;
    release(&launch_keys[(launch_number + 1) & 1]);
#pragma omp parallel if (!alone)
    {
        worker.begin(launch);
#pragma omp for schedule(dynamic, 4)
        for (uint64_t block = 0; block < blocks; ++block) worker.run_block(block_order(block));
    }
    acquire(&launch_keys[launch_number & 1]);
}

}  // namespace emu
