// The CUDA runtime as CuPy uses it: the device's attributes, memory and copies.
#include "state.h"

#include <cstdlib>
#include <cstring>
#include <set>

Counters counters;
std::map<std::string, long> launches;

namespace {

constexpr int unwritten = 0xFF, freed = 0xFE;  // both are NaNs in every floating-point type
constexpr int version = 12090;
constexpr size_t default_memory = size_t(8) << 30;

std::map<intptr_t, size_t> allocations;
std::set<intptr_t> pinned;
size_t total_memory = default_memory, used_memory;

bool check_device(int device)
{
    if (device == 0) return true;
    raise_error(runtime_invalid_device, "there is one device, number 0");
    return false;
}

}  // namespace

bool on_device(intptr_t address, size_t bytes)
{
    auto next = allocations.upper_bound(address);
    if (next == allocations.begin()) return false;
    auto [start, size] = *std::prev(next);
    return address + bytes <= start + size;
}

// ---- device

CAPSULE PyObject* runtime__ensure_context() { return none(); }
CAPSULE int runtime_driverGetVersion(int) { return version; }
CAPSULE int runtime_runtimeGetVersion(int) { return version; }
CAPSULE int runtime_getDevice(int) { return 0; }
CAPSULE int runtime_getDeviceCount(int) { return 1; }

CAPSULE PyObject* runtime_setDevice(int device, int)
{
    return check_device(device) ? none() : nullptr;
}

CAPSULE int runtime_deviceGetAttribute(int attribute, int device, int)
{
    static const std::map<int, int> attributes = {
        {1, 1024},        // threads of a block
        {2, 1024},        // ... in x
        {3, 1024},        // ... in y
        {4, 64},          // ... in z
        {5, 2147483647},  // blocks in x
        {6, 65535},       // ... in y
        {7, 65535},       // ... in z
        {8, 49152},       // shared memory of a block
        {10, 32},         // threads of a warp
        {16, 4},          // multiprocessors
        {39, 2048},       // threads of a multiprocessor
        {75, 9},          // compute capability
        {76, 0},          // ... after the point
        {97, 232448},     // shared memory of a block that asks for it
        {115, 0},         // memory pools
    };
    if (!check_device(device)) return -1;
    auto found = attributes.find(attribute);
    if (found != attributes.end()) return found->second;
    raise_error(runtime_invalid_value,
                "the emulated device has no attribute " + std::to_string(attribute));
    return -1;
}

CAPSULE PyObject* runtime_getDeviceProperties(int device, int)
{
    if (!check_device(device)) return nullptr;
    return Py_BuildValue("{s:y, s:n, s:i, s:i, s:i, s:i, s:i, s:i}", "name", "emulated sm_90",
                         "totalGlobalMem", Py_ssize_t(total_memory), "major", 9, "minor", 0,
                         "multiProcessorCount", 4, "warpSize", 32, "maxThreadsPerBlock", 1024,
                         "sharedMemPerBlock", 49152);
}

CAPSULE PyObject* runtime_memGetInfo(int)
{
    size_t free_memory = total_memory > used_memory ? total_memory - used_memory : 0;
    return Py_BuildValue("(nn)", Py_ssize_t(free_memory), Py_ssize_t(total_memory));
}

CAPSULE int runtime_deviceCanAccessPeer(int device, int peer, int)
{
    return check_device(device) && check_device(peer) ? 0 : -1;
}

// ---- memory

CAPSULE intptr_t runtime_malloc(size_t bytes, int)
{
    if (bytes == 0) return 0;
    void* memory = nullptr;
    if (used_memory + bytes > total_memory || posix_memalign(&memory, 512, bytes)) {
        raise_error(runtime_out_of_memory, "out of memory");
        return 0;
    }
    memset(memory, unwritten, bytes);
    intptr_t address = reinterpret_cast<intptr_t>(memory);
    allocations[address] = bytes;
    used_memory += bytes;
    return address;
}

CAPSULE PyObject* runtime_free(intptr_t address, int)
{
    if (address == 0) return none();
    auto found = allocations.find(address);
    if (found == allocations.end()) {
        raise_error(runtime_invalid_value, "free of what malloc did not return, or twice");
        return nullptr;
    }
    memset(reinterpret_cast<void*>(address), freed, found->second);
    used_memory -= found->second;
    allocations.erase(found);
    free(reinterpret_cast<void*>(address));
    return none();
}

CAPSULE intptr_t runtime_hostAlloc(size_t bytes, unsigned, int)
{
    void* memory = malloc(bytes ? bytes : 1);
    memset(memory, unwritten, bytes);
    pinned.insert(reinterpret_cast<intptr_t>(memory));
    return reinterpret_cast<intptr_t>(memory);
}

CAPSULE PyObject* runtime_freeHost(intptr_t address, int)
{
    if (address && !pinned.erase(address)) {
        raise_error(runtime_invalid_value, "freeHost of what hostAlloc did not return, or twice");
        return nullptr;
    }
    free(reinterpret_cast<void*>(address));
    return none();
}

CAPSULE int runtime_pointerGetMemoryType(intptr_t address, int)
{
    enum { host = 1, device = 2 };
    return on_device(address, 1) ? device : host;
}

// ---- copies

namespace {

enum CopyKind { host_to_host, upload, download, device_copy, by_addresses };

// Memory that only the host can reach: no byte of it is in an allocation of the device.
bool on_host(intptr_t address, size_t bytes)
{
    auto next = allocations.lower_bound(address + bytes);
    if (next == allocations.begin()) return true;
    auto [start, size] = *std::prev(next);
    return start + intptr_t(size) <= address;
}

bool fits(bool wants_device, intptr_t address, size_t bytes)
{
    return wants_device ? on_device(address, bytes) : on_host(address, bytes);
}

int kind_of(intptr_t to, intptr_t from)
{
    bool to_device = on_device(to, 1), from_device = on_device(from, 1);
    if (to_device) return from_device ? device_copy : upload;
    return from_device ? download : host_to_host;
}

void count_copy(int kind, size_t bytes)
{
    if (kind == upload) {
        ++counters.uploads;
        counters.upload_bytes += bytes;
    } else if (kind == download) {
        ++counters.downloads;
        counters.download_bytes += bytes;
    } else if (kind == device_copy) {
        ++counters.device_copies;
    }
}

PyObject* copy(intptr_t to, intptr_t from, size_t bytes, int kind)
{
    if (bytes == 0) return none();
    if (kind < host_to_host || kind > by_addresses) {
        raise_error(runtime_invalid_copy_direction, "kind " + std::to_string(kind));
        return nullptr;
    }
    if (kind == by_addresses) kind = kind_of(to, from);
    if (!fits(kind == upload || kind == device_copy, to, bytes)) {
        raise_error(runtime_invalid_value, "the target of the copy is not where its kind has it");
        return nullptr;
    }
    if (!fits(kind == download || kind == device_copy, from, bytes)) {
        raise_error(runtime_invalid_value, "the source of the copy is not where its kind has it");
        return nullptr;
    }
    count_copy(kind, bytes);
    memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes);
    return none();
}

}  // namespace

CAPSULE PyObject* runtime_memcpy(intptr_t to, intptr_t from, size_t bytes, int kind, int)
{
    return copy(to, from, bytes, kind);
}

CAPSULE PyObject* runtime_memcpyAsync(intptr_t to, intptr_t from, size_t bytes, int kind,
                                      intptr_t stream, int)
{
    return check_stream(stream) ? copy(to, from, bytes, kind) : nullptr;
}

CAPSULE PyObject* runtime_memset(intptr_t address, int value, size_t bytes, int)
{
    if (bytes && !on_device(address, bytes)) {
        raise_error(runtime_invalid_value, "memset outside an allocation of the device");
        return nullptr;
    }
    memset(reinterpret_cast<void*>(address), value, bytes);
    return none();
}

CAPSULE PyObject* runtime_memsetAsync(intptr_t address, int value, size_t bytes, intptr_t stream,
                                      int)
{
    return check_stream(stream) ? runtime_memset(address, value, bytes, 0) : nullptr;
}

// ---- for the rig

extern "C" void emu_set_total_memory(size_t bytes)
{
    total_memory = bytes ? bytes : default_memory;
}

extern "C" int emu_on_device(intptr_t address, size_t bytes) { return on_device(address, bytes); }
extern "C" void emu_poison(intptr_t address, size_t bytes)
{
    if (on_device(address, bytes)) memset(reinterpret_cast<void*>(address), unwritten, bytes);
}
