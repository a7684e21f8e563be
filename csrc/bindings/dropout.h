// Checks of what decides over dropped elements, as validate.h: of dropout_apply and of the layers that drop their own.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "bindings/validate.h"
#include "ops/dropout.h"

namespace alexnet::bindings {

// Elements of one stream of random bits: 2^32 blocks of four.
constexpr int64_t kMaxDropoutElements = int64_t{1} << 34;

inline double check_rate(const std::string& name, double rate) {
  if (!(rate >= 0.0 && rate < 1.0)) {
    throw std::invalid_argument(name + " is " + std::to_string(rate) + "; expected a probability in [0, 1)");
  }
  return rate;
}

// As Python passes it; `step` is an address.
struct DropoutArguments {
  double rate;
  uint64_t seed;
  uint32_t purpose;
  uintptr_t step;
  int64_t start, row_stride;
};

// Of a matrix [rows, columns]. The parameters' names begin with `prefix`.
inline Dropout check_dropout(const std::string& prefix, const DropoutArguments& given, int64_t rows, int64_t columns) {
  const auto size = [&](const char* name, int64_t value) {
    return check_size((prefix + name).c_str(), value, 0, kMaxDropoutElements);
  };
  Dropout dropout{};
  dropout.rate = check_rate(prefix + "rate", given.rate);
  dropout.seed = given.seed;
  dropout.purpose = given.purpose;
  dropout.start = size("start", given.start);
  dropout.row_stride = size("row_stride", given.row_stride);
  const int64_t room = kMaxDropoutElements - given.start - columns;
  if (rows > 0 && columns > 0 && (room < 0 || (given.row_stride > 0 && rows - 1 > room / given.row_stride))) {
    throw std::invalid_argument(
        prefix + "start + (rows - 1) * " + prefix + "row_stride + columns is too large; expected at most " +
        std::to_string(kMaxDropoutElements) + ", all that one step's stream of random bits holds");
  }
  dropout.step = check_optional<const uint64_t>((prefix + "step").c_str(), given.step, 1, sizeof(uint64_t));
  return dropout;
}

}  // namespace alexnet::bindings
