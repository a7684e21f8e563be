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
