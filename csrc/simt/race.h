// Races in shared memory: two threads of a block touch the same byte, one of them writes, and no barrier is between.
//
// The kernels' accesses are seen where they are compiled with -fsanitize=thread: the compiler then calls a function of
// ThreadSanitizer's before each, and race.cpp has these functions instead of that library's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace alexnet::simt {

// How far the threads of a block are: what lies before one of these steps is ordered before what comes after it. A
// named barrier counts for the whole block and __syncwarp for the whole warp, whoever takes part: so a race may be
// overlooked there, but none is reported that is none.
struct Progress {
  static constexpr unsigned kWarps = 32;
  uint32_t block = 0;
  uint32_t warp[kWarps] = {};
};

class RaceDetector {
 public:
  // `run` tells a block's accesses from those of the block before. Ends the launch with an error where there is a race.
  void access(uint64_t run, const Progress& progress, size_t offset, unsigned bytes, bool write, const void* code);

 private:
  struct Access {
    uint64_t run;
    const void* code;
    uint32_t block, warp;
    uint32_t thread;
  };
  // Of the reads, those of two different threads: whoever writes then, one of them is another thread.
  struct Cell {
    Access written, read[2];
  };
  std::unique_ptr<Cell[], void (*)(Cell*)> cells_{nullptr, [](Cell*) {}};
};

}  // namespace alexnet::simt
