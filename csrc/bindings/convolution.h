// What the bindings of convolution and fully connected layers share.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>

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

// The addresses of a problem's tensors, each checked against what the problem says of its size.
class Conv2dPointers {
 public:
  explicit Conv2dPointers(const Conv2dProblem& problem)
      : problem_(problem), bytes_(precision_bytes(problem.precision)) {}

  void* x(const char* name, uintptr_t address, bool is_float = false) const {
    return check_pointer<void>(name, address, problem_.input_positions() * problem_.xp(), is_float ? 4 : bytes_);
  }
  void* y(const char* name, uintptr_t address, bool is_float = false) const {
    return check_pointer<void>(name, address, problem_.output_positions() * problem_.yp(), is_float ? 4 : bytes_);
  }
  void* weight(const char* name, uintptr_t address, bool is_float = false) const {
    return check_pointer<void>(name, address, int64_t{problem_.K} * problem_.R * problem_.S * problem_.wp(),
                               is_float ? 4 : bytes_);
  }
  // float32 [K]; 0: none.
  float* bias(const char* name, uintptr_t address) const { return check_pointer<float>(name, address, 0, 4); }

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
    return check_pointer<void>("workspace", address, needed, 16);
  }

 private:
  Conv2dProblem problem_;
  int bytes_;
};

// What a direction of a problem runs with, for people and tests; `force` as in ALEXNET_CUDA_FORCE.
inline pybind11::dict describe_choice(const Conv2dProblem& problem, Direction direction, bool aligned,
                                      const std::string& force) {
  const Conv2dPlan plan = conv2d_plan(problem, direction, aligned, parse_gemm_force(force));
  pybind11::dict result;
  result["m"] = plan.gemm.m;
  result["n"] = plan.gemm.n;
  result["k"] = plan.gemm.k;
  result["groups"] = plan.gemm.groups;
  result["fold"] = plan.fold;
  result["vector"] = plan.config.vector;
  result["tile"] = pybind11::make_tuple(plan.config.tile_m, plan.config.tile_n, plan.config.tile_k);
  result["splits"] = plan.config.splits;
  result["blocks"] =
      plan.config.tiles_m(plan.gemm) * plan.config.tiles_n(plan.gemm) * plan.gemm.groups * plan.config.splits;
  result["workspace_bytes"] = plan.workspace_bytes;
  result["microseconds"] = plan.config.microseconds;
  result["reason"] = plan.config.reason;
  return result;
}

}  // namespace alexnet::bindings
