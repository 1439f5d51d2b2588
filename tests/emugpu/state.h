// What the two halves of the driver share: errors, allocations and counters.
//
// The functions named runtime_X and driver_X replace the C functions X of CuPy's extension modules
// cupy_backends.cuda.api.runtime and .driver, and have their signatures.  As Cython has it, they
// report an exception by NULL, 0 or -1.  CuPy holds the interpreter's lock when it calls them.
#pragma once

#include <Python.h>

#include <map>
#include <string>

#define CAPSULE extern "C"

struct Counters {
    long uploads, downloads, device_copies, upload_bytes, download_bytes, synchronisations;
};

extern Counters counters;
extern std::map<std::string, long> launches;

enum RuntimeStatus {
    runtime_invalid_value = 1,
    runtime_out_of_memory = 2,
    runtime_invalid_device_pointer = 17,
    runtime_invalid_copy_direction = 21,
    runtime_invalid_device = 101,
    runtime_invalid_handle = 400,
};

enum DriverStatus {
    driver_invalid_value = 1,
    driver_invalid_image = 200,
    driver_not_found = 500,
    driver_illegal_address = 700,
    driver_out_of_resources = 701,
};

// Raise CuPy's own exception.
void raise_error(RuntimeStatus status, const std::string& text);
void raise_error(DriverStatus status, const std::string& text);

// Raise RuntimeError for what is left out.
void raise_unmodelled(const std::string& what);

inline PyObject* none()
{
    Py_INCREF(Py_None);
    return Py_None;
}

// Whether the bytes lie in one live allocation of the device.
bool on_device(intptr_t address, size_t bytes);

bool is_stream(intptr_t stream);

// The same, with an exception where it is none.
bool check_stream(intptr_t stream);
