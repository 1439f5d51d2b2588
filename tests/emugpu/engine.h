// What the engine, the driver and every compiled kernel share.
#pragma once

#include <cstddef>
#include <cstdint>

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
};

namespace emu {

// A thread of the device, while its block runs.
struct Thread {
    uint3 index;
    unsigned number;  // in the block, x first
};

// The module's static shared memory: thread-local storage of the module `tls_module`, one copy
// for each worker, or (in a sanitized build, which has one worker) the range at `begin`.
struct SharedMemory {
    size_t tls_module;
    char* begin;
    size_t bytes;
};

enum class Order { forward, reversed, shuffled };

struct Launch {
    const char* name;
    void (*kernel)(void** arguments);
    void** arguments;
    dim3 grid, block;
    size_t dynamic_shared;
    SharedMemory shared;
    bool shares;
    Order order;
    unsigned seed;
};

// A compiled module has one of these for each kernel, under the name emu_kernel_<name>.
struct Kernel {
    const char* name;
    const char* signature;  // a letter for each parameter, see cuda_emu.h
    void (*call)(void** arguments);
    unsigned max_threads;  // 0 without __launch_bounds__
    bool shares;           // whether it has shared memory
};

// What a kernel sees of its place in the grid.  The model of thread-local storage is the fastest
// one, whose space is scarce: these few words only.
#define EMU_THREAD_LOCAL __thread __attribute__((tls_model("initial-exec")))
extern EMU_THREAD_LOCAL Thread* current;
extern EMU_THREAD_LOCAL uint3 block_index;
extern EMU_THREAD_LOCAL dim3 block_size;
extern EMU_THREAD_LOCAL dim3 grid_size;
extern EMU_THREAD_LOCAL char* dynamic_shared;
extern EMU_THREAD_LOCAL uint64_t* exchange;  // a slot for each thread, for shuffles

// A barrier in the source: its number, and its line for messages.
struct Site {
    int number, line;
};

// The calling thread waits for the others of its block, which have to wait at the same site, or
// for those of its warp.
void block_barrier(Site site);
void warp_barrier();

// Run all blocks of a grid.
void run(const Launch& launch);

}  // namespace emu
