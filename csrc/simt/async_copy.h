// cp.async: copies from global to shared memory that arrive no sooner than a wait makes them.
#pragma once

#include <cstdint>

#include "simt/device.h"

namespace alexnet::simt {

// Poisons the target; `source_bytes` of the source and zeros up to `bytes` arrive at the wait.
void async_copy(void* target, const void* source, int bytes, int source_bytes, Site site);
void async_commit();
// Delivers all groups of the running thread but the `pending` last committed.
void async_wait(int pending, Site site);
// Delivers all copies of the running thread, committed or not.
void async_wait_all(Site site);

}  // namespace alexnet::simt
