// The CUDA driver as CuPy uses it: modules and launches.  A module is a shared object that
// compile.py has made; CuPy is given its path where it expects machine code.
#include "engine.h"
#include "state.h"

#include <dlfcn.h>
#include <link.h>

#include <set>
#include <vector>

namespace {

constexpr unsigned block_limit = 1024, block_z_limit = 64, grid_yz_limit = 65535;
constexpr unsigned grid_x_limit = 2147483647;
constexpr int shared_limit = 48 * 1024, raised_shared_limit = 232448;

struct Module {
    void* library;
    emu::SharedMemory shared;
};

struct Function {
    const emu::Kernel* kernel;
    emu::SharedMemory shared;
    int dynamic_shared_limit;
};

emu::Order order = emu::Order::forward;
unsigned seed;

// The size of a library's thread-local storage, which holds its shared arrays alone.
size_t tls_bytes(void* library)
{
    link_map* wanted;
    dlinfo(library, RTLD_DI_LINKMAP, &wanted);
    std::pair<ElfW(Addr), size_t> found{wanted->l_addr, 0};
    auto visit = [](dl_phdr_info* info, size_t, void* data) {
        auto& [address, bytes] = *static_cast<std::pair<ElfW(Addr), size_t>*>(data);
        if (info->dlpi_addr != address) return 0;
        for (int i = 0; i < info->dlpi_phnum; ++i) {
            if (info->dlpi_phdr[i].p_type == PT_TLS) bytes = info->dlpi_phdr[i].p_memsz;
        }
        return 1;
    };
    dl_iterate_phdr(visit, &found);
    return found.second;
}

emu::SharedMemory shared_memory(void* library)
{
    emu::SharedMemory shared{};
    auto begin = reinterpret_cast<char* (*)()>(dlsym(library, "emu_shared_begin"));
    auto end = reinterpret_cast<char* (*)()>(dlsym(library, "emu_shared_end"));
    if (begin && end) {
        shared.begin = begin();
        shared.bytes = end() - begin();
        return shared;
    }
    shared.bytes = tls_bytes(library);
    if (shared.bytes) dlinfo(library, RTLD_DI_TLS_MODID, &shared.tls_module);
    return shared;
}

std::string kernel_text(const Function* function)
{
    return std::string("kernel ") + function->kernel->name;
}

bool refuse(const Function* function, DriverStatus status, const std::string& text)
{
    raise_error(status, kernel_text(function) + ": " + text);
    return false;
}

bool check_sizes(const Function* function, dim3 grid, dim3 block, unsigned shared)
{
    uint64_t threads = uint64_t(block.x) * block.y * block.z;
    unsigned bound = function->kernel->max_threads;
    if (threads == 0 || threads > block_limit || block.z > block_z_limit)
        return refuse(function, driver_invalid_value,
                      "a block of " + std::to_string(threads) + " threads");
    if (bound && threads > bound)
        return refuse(function, driver_out_of_resources,
                      std::to_string(threads) + " threads, over __launch_bounds__");
    if (!grid.x || !grid.y || !grid.z || grid.x > grid_x_limit || grid.y > grid_yz_limit
        || grid.z > grid_yz_limit)
        return refuse(function, driver_invalid_value, "the size of the grid");
    if (shared > unsigned(function->dynamic_shared_limit))
        return refuse(function, driver_invalid_value,
                      std::to_string(shared) + " bytes of dynamic shared memory");
    return true;
}

// Every pointer is null or points into (or just past) a live allocation.
bool check_pointers(const Function* function, void** arguments)
{
    const char* letters = function->kernel->signature;
    for (int i = 0; letters[i]; ++i) {
        if (letters[i] < 'A' || letters[i] > 'Z') continue;
        intptr_t address = *static_cast<intptr_t*>(arguments[i]);
        if (address && !on_device(address, 0))
            return refuse(function, driver_illegal_address,
                          "argument " + std::to_string(i) + " does not point to device memory");
    }
    return true;
}

}  // namespace

CAPSULE intptr_t driver_ctxGetCurrent(int) { return 1; }
CAPSULE intptr_t driver_streamGetCtx(intptr_t, int) { return 1; }

CAPSULE intptr_t driver_moduleLoadData(PyObject* image, int)
{
    const char* path = PyBytes_AsString(image);
    if (!path) return 0;
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        raise_error(driver_invalid_image, dlerror());
        return 0;
    }
    return reinterpret_cast<intptr_t>(new Module{library, shared_memory(library)});
}

// The library stays, as do the functions found in it.
CAPSULE PyObject* driver_moduleUnload(intptr_t, int) { return none(); }

CAPSULE intptr_t driver_moduleGetFunction(intptr_t handle, PyObject* name, int)
{
    const Module* module = reinterpret_cast<Module*>(handle);
    const char* text = PyUnicode_AsUTF8(name);
    if (!text) return 0;
    void* kernel = dlsym(module->library, (std::string("emu_kernel_") + text).c_str());
    if (!kernel) {
        raise_error(driver_not_found, std::string("no kernel ") + text);
        return 0;
    }
    return reinterpret_cast<intptr_t>(
        new Function{static_cast<emu::Kernel*>(kernel), module->shared, shared_limit});
}

enum FunctionAttribute { max_threads_of_block = 0, max_dynamic_shared = 8 };

CAPSULE int driver_funcGetAttribute(int attribute, intptr_t handle, int)
{
    const Function* function = reinterpret_cast<Function*>(handle);
    unsigned bound = function->kernel->max_threads;
    if (attribute == max_threads_of_block) return bound ? bound : block_limit;
    if (attribute == max_dynamic_shared) return function->dynamic_shared_limit;
    raise_unmodelled("attribute " + std::to_string(attribute) + " of a function");
    return -1;
}

CAPSULE PyObject* driver_funcSetAttribute(intptr_t handle, int attribute, int value, int)
{
    Function* function = reinterpret_cast<Function*>(handle);
    if (attribute != max_dynamic_shared) {
        raise_unmodelled("attribute " + std::to_string(attribute) + " of a function");
        return nullptr;
    }
    if (value < 0 || value > raised_shared_limit) {
        refuse(function, driver_invalid_value, "the limit of dynamic shared memory");
        return nullptr;
    }
    function->dynamic_shared_limit = value;
    return none();
}

CAPSULE PyObject* driver_launchKernel(intptr_t handle, unsigned grid_x, unsigned grid_y,
                                      unsigned grid_z, unsigned block_x, unsigned block_y,
                                      unsigned block_z, unsigned shared, intptr_t stream,
                                      intptr_t arguments_address, intptr_t extra, int)
{
    const Function* function = reinterpret_cast<Function*>(handle);
    void** arguments = reinterpret_cast<void**>(arguments_address);
    dim3 grid{grid_x, grid_y, grid_z}, block{block_x, block_y, block_z};
    if (extra) {
        raise_unmodelled("a launch with its arguments in one buffer");
        return nullptr;
    }
    if (!is_stream(stream)) {
        refuse(function, driver_invalid_value, "not a stream");
        return nullptr;
    }
    if (!check_sizes(function, grid, block, shared) || !check_pointers(function, arguments))
        return nullptr;
    ++launches[function->kernel->name];
    const emu::Kernel* kernel = function->kernel;
    emu::run({kernel->name, kernel->call, arguments, grid, block, shared, function->shared,
              kernel->shares || shared, order, seed});
    return none();
}

// ---- for the rig

extern "C" void emu_set_order(int new_order, unsigned new_seed)
{
    order = static_cast<emu::Order>(new_order);
    seed = new_seed;
}

extern "C" void emu_count_launch(const char* name) { ++launches[name]; }

extern "C" PyObject* emu_launches()
{
    PyObject* all = PyDict_New();
    for (auto& [name, count] : launches) {
        PyObject* number = PyLong_FromLong(count);
        PyDict_SetItemString(all, name.c_str(), number);
        Py_DECREF(number);
    }
    return all;
}

extern "C" PyObject* emu_counters()
{
    const Counters& c = counters;
    return Py_BuildValue("(llllll)", c.uploads, c.downloads, c.device_copies, c.upload_bytes,
                         c.download_bytes, c.synchronisations);
}

extern "C" void emu_reset()
{
    counters = {};
    launches.clear();
}
