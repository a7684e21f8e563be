// What the bindings of convolution and fully connected layers share.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "bindings/dropout.h"
#include "bindings/sgd.h"
#include "bindings/validate.h"
#include "ops/conv2d.h"

namespace alexnet::bindings {

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

// As Python passes it; the first four are addresses.
struct SgdArguments {
  uintptr_t weights, velocity, copy, learning_rate;
  double rate_factor, momentum, weight_decay, gradient_scale;
};

// The tensors span `count` elements, those of the copy of copy_bytes. The parameters' names begin with `prefix`.
inline Sgd check_sgd(const std::string& prefix, const SgdArguments& given, int64_t count, int copy_bytes) {
  const auto name = [&](const char* end) { return prefix + end; };
  Sgd sgd{};
  sgd.rate_factor = check_finite(name("rate_factor").c_str(), given.rate_factor);
  sgd.momentum = check_finite(name("momentum").c_str(), given.momentum, 0.0);
  sgd.weight_decay = check_finite(name("weight_decay").c_str(), given.weight_decay, 0.0);
  sgd.gradient_scale = check_finite(name("gradient_scale").c_str(), given.gradient_scale);
  sgd.weights = check_pointer<float>(name("weights").c_str(), given.weights, count, sizeof(float));
  sgd.velocity = check_pointer<float>(name("velocity").c_str(), given.velocity, count, sizeof(float));
  sgd.copy = check_optional<void>(name("copy").c_str(), given.copy, count, copy_bytes);
  sgd.learning_rate =
      check_pointer<const float>(name("learning_rate").c_str(), given.learning_rate, count > 0 ? 1 : 0, sizeof(float));
  return sgd;
}

using Pitches = std::array<int64_t, 3>;  // of x, y and weight; 0: dense

inline Direction parse_direction(const std::string& name) {
  if (name == "fprop") return Direction::kFprop;
  if (name == "dgrad") return Direction::kDgrad;
  if (name == "wgrad") return Direction::kWgrad;
  throw std::invalid_argument("direction is \"" + name + "\"; expected fprop, dgrad or wgrad");
}

inline int to_int(const char* name, int64_t value, int64_t smallest) {
  return static_cast<int>(check_size(name, value, smallest));
}

// The arguments of a problem, each checked against what the problem says of its size.
class Conv2dArguments {
 public:
  explicit Conv2dArguments(const Conv2dProblem& problem)
      : problem_(problem), bytes_(precision_bytes(problem.precision)) {}

  // The input as the problem has it, folded or not.
  const void* input(uintptr_t address) const {
    if (!problem_.x_folded) return x("x", address);
    return check_pointer<void>("x", address, x_fold_shape(problem_).folded_count(), bytes_, 16);
  }
  void* x(const char* name, uintptr_t address, bool is_float = false) const {
    return check_pointer<void>(name, address, span(problem_.input_positions(), problem_.xp(), problem_.C),
                               is_float ? 4 : bytes_);
  }
  void* y(const char* name, uintptr_t address, bool is_float = false) const {
    return check_pointer<void>(name, address, span(problem_.output_positions(), problem_.yp(), problem_.K),
                               is_float ? 4 : bytes_);
  }
  void* weight(const char* name, uintptr_t address, bool is_float = false) const {
    return check_pointer<void>(name, address, weight_span(), is_float ? 4 : bytes_);
  }
  // float32 [K]; 0: none.
  float* bias(const char* name, uintptr_t address) const {
    return check_optional<float>(name, address, problem_.K, sizeof(float));
  }
  // Like y and x in float32; 0: none.
  const float* y_addend(uintptr_t address) const {
    return address == 0 ? nullptr : static_cast<const float*>(y("addend", address, true));
  }
  const float* x_addend(uintptr_t address) const {
    return address == 0 ? nullptr : static_cast<const float*>(x("addend", address, true));
  }

  Dropout dropout(const DropoutArguments& given) const {
    return check_dropout("dropout_", given, problem_.output_positions(), problem_.K);
  }

  float mask_scale(double scale, uintptr_t mask) const {
    if (mask == 0 && scale != 1.0) {
      throw std::invalid_argument("mask_scale is " + std::to_string(scale) + "; expected 1 without a mask");
    }
    return check_finite("mask_scale", scale);
  }

  // Nothing without sgd_weights; `accumulate` and dweight as given to wgrad.
  Sgd sgd(const SgdArguments& given, bool accumulate) const {
    if (given.weights == 0) {
      if (given.velocity == 0 && given.copy == 0 && given.learning_rate == 0) return {};
      throw std::invalid_argument(
          "sgd_weights is a null pointer; expected the address of the weights that sgd_velocity, sgd_copy and "
          "sgd_learning_rate go with");
    }
    if (accumulate) throw std::invalid_argument("accumulate is True; expected False with sgd_weights");
    if (given.copy != 0 && bytes_ == 4) {
      throw std::invalid_argument(
          "sgd_copy is an address, but in this precision sgd_weights is what the kernels read; expected 0");
    }
    return check_sgd("sgd_", given, weight_span(), bytes_);
  }

  void check_bias_gradient(const float* dbias, uintptr_t dy) const {
    if (dbias == nullptr) return;
    if (problem_.yp() != problem_.K || dy % 16 != 0) {
      throw std::invalid_argument("dy has a pitch of " + std::to_string(problem_.yp()) + " and is at address " +
                                  std::to_string(dy) + "; with dbias expected it dense and on 16 bytes");
    }
  }

  void* workspace(Direction direction, uintptr_t address, int64_t bytes) const {
    const int64_t needed = conv2d_workspace_bytes(problem_, direction);
    if (bytes < needed) {
      throw std::invalid_argument("workspace_bytes is " + std::to_string(bytes) + "; expected at least " +
                                  std::to_string(needed));
    }
    return check_pointer<void>("workspace", address, needed, 1, 16);
  }

 private:
  // From the first element to the last: the pitch of a range of a wider tensor goes on beyond the end of that tensor.
  static int64_t span(int64_t rows, int64_t pitch, int64_t columns) {
    return rows == 0 ? 0 : (rows - 1) * pitch + columns;
  }
  int64_t weight_span() const {
    return span(int64_t{problem_.K} * problem_.R * problem_.S, problem_.wp(), problem_.group_c());
  }

  Conv2dProblem problem_;
  int bytes_;
};

// What a direction of a problem runs with, for people and tests; `force` as in ALEXNET_CUDA_FORCE.
inline pybind11::dict describe_choice(const Conv2dProblem& problem, Direction direction, bool aligned,
                                      const std::string& force, const Machine& machine) {
  const Conv2dPlan plan = conv2d_plan(problem, direction, aligned, machine, parse_gemm_force(force));
  pybind11::dict result;
  result["m"] = plan.gemm.m;
  result["n"] = plan.gemm.n;
  result["k"] = plan.gemm.k;
  result["groups"] = plan.gemm.groups;
  result["fold"] = plan.fold;
  result["vector"] = plan.config.vector;
  result["tile"] = pybind11::make_tuple(plan.config.tile_m, plan.config.tile_n, plan.config.tile_k);
  result["splits"] = plan.config.splits;
  result["blocks"] = plan.config.blocks(plan.gemm);
  result["resident_blocks"] = plan.config.resident_blocks;
  result["x_shape"] = pybind11::make_tuple(plan.problem.N, plan.problem.H, plan.problem.W, plan.problem.C);
  result["workspace_bytes"] = plan.workspace_bytes;
  result["microseconds"] = plan.config.microseconds;
  result["reason"] = plan.config.reason;
  return result;
}

}  // namespace alexnet::bindings
