#include "cpu/work.h"

#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <thread>

namespace alexnet::cpu {

Work::~Work() = default;

void Work::run(float* workspace, bool packed) {
  try {
    for (int phase = packed ? 1 : 0; phase < kPhases; ++phase) {
      for (int i; !failed_ && (i = next_[phase].fetch_add(1, std::memory_order_relaxed)) < tiles_[phase];) {
        tile(phase, i, workspace);
        done_[phase].fetch_add(1, std::memory_order_release);
      }
      while (!failed_ && done_[phase].load(std::memory_order_acquire) < tiles_[phase]) std::this_thread::yield();
    }
  } catch (...) {  // no memory for a thread's scratch: the others are not to wait for its tile
    failed_ = true;
    throw;
  }
}

float* scratch(size_t floats) {
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  static thread_local std::unique_ptr<float, Free> buffer;
  static thread_local size_t size = 0;
  if (size < floats) {
    constexpr size_t kLine = 64;
    const size_t bytes = (floats * sizeof(float) + kLine - 1) / kLine * kLine;
    size = 0;
    buffer.reset(static_cast<float*>(std::aligned_alloc(kLine, bytes)));
    if (!buffer) throw std::bad_alloc();
    size = floats;
  }
  return buffer.get();
}

size_t l2_bytes() {
#ifdef _SC_LEVEL2_CACHE_SIZE
  static const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
#else
  static const long bytes = 0;
#endif
  return bytes > 0 ? static_cast<size_t>(bytes) : size_t{512} << 10;
}

}  // namespace alexnet::cpu
