// CuPy's exceptions, raised from C.
#include "state.h"

namespace {

void raise_with_status(const char* module, const char* name, int status, const std::string& text)
{
    PyGILState_STATE lock = PyGILState_Ensure();
    PyObject* owner = PyImport_ImportModule(module);
    PyObject* type = owner ? PyObject_GetAttrString(owner, name) : nullptr;
    // The constructor would ask the absent driver for the message.
    PyObject* error = type ? PyObject_CallMethod(type, "__new__", "O", type) : nullptr;
    PyObject* number = PyLong_FromLong(status);
    PyObject* arguments = Py_BuildValue("(s)", text.c_str());
    if (error && PyObject_SetAttrString(error, "status", number) == 0
        && PyObject_SetAttrString(error, "args", arguments) == 0)
        PyErr_SetObject(type, error);
    Py_XDECREF(arguments);
    Py_XDECREF(number);
    Py_XDECREF(error);
    Py_XDECREF(type);
    Py_XDECREF(owner);
    PyGILState_Release(lock);
}

const char* name_of(RuntimeStatus status)
{
    switch (status) {
    case runtime_invalid_value: return "cudaErrorInvalidValue: ";
    case runtime_out_of_memory: return "cudaErrorMemoryAllocation: ";
    case runtime_invalid_device_pointer: return "cudaErrorInvalidDevicePointer: ";
    case runtime_invalid_copy_direction: return "cudaErrorInvalidMemcpyDirection: ";
    case runtime_invalid_device: return "cudaErrorInvalidDevice: ";
    case runtime_invalid_handle: return "cudaErrorInvalidResourceHandle: ";
    }
    return "";
}

const char* name_of(DriverStatus status)
{
    switch (status) {
    case driver_invalid_value: return "CUDA_ERROR_INVALID_VALUE: ";
    case driver_invalid_image: return "CUDA_ERROR_INVALID_IMAGE: ";
    case driver_not_found: return "CUDA_ERROR_NOT_FOUND: ";
    case driver_illegal_address: return "CUDA_ERROR_ILLEGAL_ADDRESS: ";
    case driver_out_of_resources: return "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: ";
    }
    return "";
}

}  // namespace

void raise_error(RuntimeStatus status, const std::string& text)
{
    raise_with_status("cupy_backends.cuda.api.runtime", "CUDARuntimeError", status,
                      name_of(status) + text);
}

void raise_error(DriverStatus status, const std::string& text)
{
    raise_with_status("cupy_backends.cuda.api.driver", "CUDADriverError", status,
                      name_of(status) + text);
}

void raise_unmodelled(const std::string& what)
{
    PyGILState_STATE lock = PyGILState_Ensure();
    PyErr_Format(PyExc_RuntimeError, "%s: the emulated device does not model it", what.c_str());
    PyGILState_Release(lock);
}
