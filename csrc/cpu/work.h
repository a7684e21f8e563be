// An operation cut into tiles that any number of threads take from a counter. What a tile computes depends on the
// problem alone, never on who takes it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace alexnet::cpu {

class Work {
 public:
  virtual ~Work();

  // Bytes that run() needs: the same memory for all threads.
  int64_t workspace_bytes() const { return workspace_floats_ * static_cast<int64_t>(sizeof(float)); }
  int tiles() const { return tiles_[0] > tiles_[1] ? tiles_[0] : tiles_[1]; }

  // Takes tiles until none is left. Every thread that takes part calls it once; no thread is waited for that has not
  // come. The second phase begins when all tiles of the first are done. What a tile throws is thrown here, and ends the
  // others' work too. `packed`: the workspace holds what the first phase of the same work wrote to it, weights packed,
  // so that is left out.
  void run(float* workspace, bool packed = false);

 protected:
  static constexpr int kPhases = 2;

  virtual void tile(int phase, int index, float* workspace) = 0;

  int tiles_[kPhases] = {0, 0};
  int64_t workspace_floats_ = 0;

 private:
  std::atomic<int> next_[kPhases] = {};
  std::atomic<int> done_[kPhases] = {};
  std::atomic<bool> failed_{false};
};

// Memory of the calling thread on a cache line, valid until its next call: fresh memory would cost a page fault every
// 4 KiB.
float* scratch(size_t floats);

// Bytes of this machine's second-level cache. No result's bits depend on it.
size_t l2_bytes();

}  // namespace alexnet::cpu
