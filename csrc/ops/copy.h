// Copies between ranges of columns and between element types: parameters, launch choice and launch. Kernel and its
// contract: copy.cuh.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"
#include "common/elementwise.h"

namespace alexnet {

// Pitches are elements from one row to the next, at least columns.
struct CopyColumnsParams {
  const void* x;       // [rows, columns] of x_dtype
  const void* addend;  // [rows, columns] of x_dtype; null: none
  void* y;             // [rows, columns] of y_dtype; may be x or addend where layout and type are the same
  int64_t rows, columns;
  int64_t x_pitch, addend_pitch, y_pitch;
  DType x_dtype, y_dtype;
};

struct CopyProblem {
  int64_t rows, columns;
  int64_t x_pitch, addend_pitch, y_pitch;
  int x_bytes, y_bytes;
  bool aligned;  // every pointer is a multiple of 16 bytes
};

// Of a dense matrix the rows are one: what matters is that all of it is whole vectors.
inline bool copy_is_dense(const CopyProblem& problem) {
  return problem.x_pitch == problem.columns && problem.addend_pitch == problem.columns &&
         problem.y_pitch == problem.columns;
}

inline ElementwiseConfig copy_config(const CopyProblem& problem, const Machine& machine) {
  const int64_t count = problem.rows * problem.columns;
  // Vectors are counted in the narrower type's 16 bytes, so that every access is whole.
  const int bytes = std::min(problem.x_bytes, problem.y_bytes);
  const int widest = 16 / bytes;
  const bool whole_rows = problem.columns % widest == 0 && problem.x_pitch % widest == 0 &&
                          problem.addend_pitch % widest == 0 && problem.y_pitch % widest == 0;
  const bool whole = copy_is_dense(problem) ? count % widest == 0 : whole_rows;
  return elementwise_config({count, bytes, problem.aligned && whole}, machine);
}

void launch_copy_columns(const CopyColumnsParams& params, cudaStream_t stream);

}  // namespace alexnet
