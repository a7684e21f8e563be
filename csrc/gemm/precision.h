// How a matrix product computes: the type of its operands and the products; sums are always FP32.
#pragma once

#include <stdexcept>
#include <string>

#include "common/dtype.h"

namespace alexnet {

// kFloat32 and kTf32 take float32 tensors, the others their own.
enum class Precision : int { kFloat32, kTf32, kBFloat16, kFloat16 };

inline DType precision_dtype(Precision precision) {
  return precision == Precision::kBFloat16  ? DType::kBFloat16
         : precision == Precision::kFloat16 ? DType::kFloat16
                                            : DType::kFloat32;
}

inline int precision_bytes(Precision precision) {
  return dtype_bytes(precision_dtype(precision));
}

inline Precision parse_precision(const std::string& name) {
  if (name == "float32") return Precision::kFloat32;
  if (name == "tf32") return Precision::kTf32;
  if (name == "bfloat16") return Precision::kBFloat16;
  if (name == "float16") return Precision::kFloat16;
  throw std::invalid_argument("precision is \"" + name + "\"; expected float32, tf32, bfloat16 or float16");
}

}  // namespace alexnet
