// Streams and events.  Everything happens at once: a stream has nothing left to do when a call
// returns.
#include "state.h"

#include <chrono>
#include <set>

namespace {

std::set<intptr_t> streams, events;

struct Stream {
    unsigned flags;
    int priority;
};

intptr_t new_stream(unsigned flags, int priority)
{
    intptr_t handle = reinterpret_cast<intptr_t>(new Stream{flags, priority});
    streams.insert(handle);
    return handle;
}

struct Event {
    bool timing, recorded;
    std::chrono::steady_clock::time_point time;
};

Event* event_at(intptr_t handle)
{
    if (events.count(handle)) return reinterpret_cast<Event*>(handle);
    raise_error(runtime_invalid_handle, "not an event");
    return nullptr;
}

PyObject* synchronised()
{
    ++counters.synchronisations;
    return none();
}

}  // namespace

bool is_stream(intptr_t stream)
{
    bool predefined = stream >= 0 && stream <= 2;  // null, legacy and per-thread
    return predefined || streams.count(stream);
}

bool check_stream(intptr_t stream)
{
    if (is_stream(stream)) return true;
    raise_error(runtime_invalid_handle, "not a stream");
    return false;
}

CAPSULE PyObject* runtime_deviceSynchronize(int) { return synchronised(); }

// ---- streams

CAPSULE intptr_t runtime_streamCreate(int) { return new_stream(0, 0); }
CAPSULE intptr_t runtime_streamCreateWithFlags(unsigned flags, int)
{
    return new_stream(flags, 0);
}

CAPSULE intptr_t runtime_streamCreateWithPriority(unsigned flags, int priority, int)
{
    return new_stream(flags, priority);
}

CAPSULE PyObject* runtime_streamDestroy(intptr_t stream, int)
{
    if (!streams.erase(stream)) {
        raise_error(runtime_invalid_handle, "not a stream that was created");
        return nullptr;
    }
    delete reinterpret_cast<Stream*>(stream);
    return none();
}

CAPSULE PyObject* runtime_streamSynchronize(intptr_t stream, int)
{
    return check_stream(stream) ? synchronised() : nullptr;
}

CAPSULE PyObject* runtime_streamQuery(intptr_t stream, int)
{
    return check_stream(stream) ? none() : nullptr;
}

CAPSULE PyObject* runtime_streamWaitEvent(intptr_t stream, intptr_t event, int, void*)
{
    return check_stream(stream) && event_at(event) ? none() : nullptr;
}

CAPSULE int runtime_streamIsCapturing(intptr_t stream, int)
{
    return check_stream(stream) ? 0 : -1;
}

CAPSULE unsigned runtime_streamGetFlags(intptr_t stream, int)
{
    if (!check_stream(stream)) return -1;
    return streams.count(stream) ? reinterpret_cast<Stream*>(stream)->flags : 0;
}

CAPSULE int runtime_streamGetPriority(intptr_t stream, int)
{
    if (!check_stream(stream)) return -1;
    return streams.count(stream) ? reinterpret_cast<Stream*>(stream)->priority : 0;
}

// ---- events

CAPSULE intptr_t runtime_eventCreateWithFlags(unsigned flags, int)
{
    constexpr unsigned disable_timing = 2;
    intptr_t handle = reinterpret_cast<intptr_t>(new Event{!(flags & disable_timing), false, {}});
    events.insert(handle);
    return handle;
}

CAPSULE intptr_t runtime_eventCreate(int) { return runtime_eventCreateWithFlags(0, 0); }

CAPSULE PyObject* runtime_eventDestroy(intptr_t handle, int)
{
    Event* event = event_at(handle);
    if (!event) return nullptr;
    events.erase(handle);
    delete event;
    return none();
}

CAPSULE PyObject* runtime_eventRecord(intptr_t handle, intptr_t stream, int)
{
    Event* event = event_at(handle);
    if (!event || !check_stream(stream)) return nullptr;
    event->recorded = true;
    event->time = std::chrono::steady_clock::now();
    return none();
}

CAPSULE PyObject* runtime_eventQuery(intptr_t handle, int)
{
    return event_at(handle) ? none() : nullptr;
}

CAPSULE PyObject* runtime_eventSynchronize(intptr_t handle, int)
{
    return event_at(handle) ? synchronised() : nullptr;
}

CAPSULE float runtime_eventElapsedTime(intptr_t first, intptr_t second, int)
{
    Event* start = event_at(first);
    Event* end = start ? event_at(second) : nullptr;
    if (!end) return 0;
    if (!start->timing || !end->timing || !start->recorded || !end->recorded) {
        raise_error(runtime_invalid_handle, "an event was not recorded, or made without timing");
        return 0;
    }
    return std::chrono::duration<float, std::milli>(end->time - start->time).count();
}
