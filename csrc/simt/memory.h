// Global memory of the executor: poisoned buffers between guard zones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace alexnet::simt {

// Which end of a buffer lies at an inaccessible page, so that the first byte beyond it faults. Beyond the other end
// lies poison up to the next page.
enum class Placement { kEnd, kStart };

// kEnd, or what ALEXNET_CUDA_SIMT_PLACEMENT ("end" or "start") says.
Placement default_placement();

// A poisoned buffer, aligned to 16 bytes. Throws std::runtime_error where the system has no memory.
void* allocate(size_t bytes, Placement placement, const std::string& label);
// Accesses to a released buffer fault, until the system gives its addresses to somebody else.
void release(void* data);

// Whether [data, data + bytes) lies in one buffer.
bool is_guarded(const void* data, size_t bytes);

// What kernels may touch: the buffers that are not released, by address.
struct LiveBuffer {
  uintptr_t start;
  size_t bytes;
  int number;  // as errors name it
};
std::vector<LiveBuffer> live_buffers();

// Throws std::invalid_argument unless the pointer is null or points into a buffer.
void check_kernel_argument(const void* pointer, int position);

// Empty, or which buffer was written beyond its ends. The bytes are poisoned again.
std::string damaged_guards();

// "12 bytes past the end of buffer 5 (...)", as near as can be told.
std::string describe_address(uintptr_t address);

}  // namespace alexnet::simt
