// Launch choice for kernels that touch every element once: a pure host function, tested without a GPU.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "common/machine.h"

namespace alexnet {

struct ElementwiseProblem {
  int64_t count;      // elements
  int element_bytes;  // of the widest tensor that is read or written in vectors
  bool vectors;       // every pointer and row is a multiple of 16 bytes
};

struct ElementwiseConfig {
  int vector;     // elements a thread moves at once: 16 bytes, or 1
  int block;      // threads
  uint32_t grid;  // blocks; the kernel strides over what is left
};

inline ElementwiseConfig elementwise_config(const ElementwiseProblem& problem, const Machine& machine) {
  // No kernel here needs shared memory or more than 64 registers: at least four blocks of 256 share an SM.
  constexpr int kBlock = 256;
  // Sixteen blocks a multiprocessor: whole waves whether four or eight of them run at once.
  const int64_t most = int64_t{2 * 8} * machine.multiprocessors;
  const int vector = problem.vectors ? 16 / problem.element_bytes : 1;
  const int64_t threads = (problem.count + vector - 1) / vector;
  const int64_t blocks = (threads + kBlock - 1) / kBlock;
  return {vector, kBlock, static_cast<uint32_t>(std::clamp<int64_t>(blocks, 1, most))};
}

inline bool aligned16(std::initializer_list<const void*> pointers) {
  return std::all_of(pointers.begin(), pointers.end(),
                     [](const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; });
}

}  // namespace alexnet
