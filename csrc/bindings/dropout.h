// Checks of what decides over dropped elements: of dropout_apply and of the layers that drop their own.
#pragma once

#include <cfloat>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "bindings/options.h"
#include "bindings/tensor.h"
#include "ops/dropout.h"

namespace alexnet::bindings {

// Elements of one stream of random bits: 2^32 blocks of four.
constexpr int64_t kMaxDropoutElements = int64_t{1} << 34;

inline double check_rate(double rate) {
  if (!(rate >= 0.0 && rate < 1.0)) {
    throw std::invalid_argument("rate is " + std::to_string(rate) + "; expected a probability in [0, 1)");
  }
  return rate;
}

// Of a matrix [rows, columns]; `step` is one uint64.
inline Dropout check_dropout(const DropoutOptions& given, const Tensor& step, int64_t rows, int64_t columns) {
  Dropout dropout{};
  dropout.rate = check_rate(given.rate);
  dropout.scale = check_finite("scale", given.scale, FLT_MIN);
  dropout.seed = given.seed;
  dropout.purpose = given.purpose;
  dropout.start = check_size("start", given.start, 0, kMaxDropoutElements);
  dropout.row_stride = check_size("row_stride", given.row_stride, 0, kMaxDropoutElements);
  const int64_t room = kMaxDropoutElements - given.start - columns;
  if (rows > 0 && columns > 0 && (room < 0 || (given.row_stride > 0 && rows - 1 > room / given.row_stride))) {
    throw std::invalid_argument("start + (rows - 1) * row_stride + columns is too large; expected at most " +
                                std::to_string(kMaxDropoutElements) +
                                ", all that one step's stream of random bits holds");
  }
  dropout.step = step.of_count(1).data<const uint64_t>();
  return dropout;
}

}  // namespace alexnet::bindings
