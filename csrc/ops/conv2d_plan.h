// Launch choice of the convolution: a pure host function from the problem to matrix product, tile, splits and
// workspace.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include "gemm/config.h"
#include "gemm/precision.h"
#include "ops/bias.h"
#include "ops/conv2d_fold.h"

namespace alexnet {

enum class Direction : int { kFprop, kDgrad, kWgrad };

// Sizes. Padding is what the first filters begin before the image; how far the last ones reach beyond it follows from P
// and Q. Pitches are elements from one position (of the weights: one filter tap) to the next, so that an operand may be
// a range of a wider tensor's channels: half of conv3's input and weights, say. 0: no wider than the channels.
struct Conv2dProblem {
  int N, H, W, C, K, R, S, P, Q;
  int stride_h, stride_w, padding_h, padding_w;
  int groups;
  int x_pitch, y_pitch, weight_pitch;
  Precision precision;
  bool x_folded;  // whether x is given as x_fold_shape has it; ignored by dgrad

  int group_c() const { return C / groups; }
  int group_k() const { return K / groups; }
  int64_t xp() const { return x_pitch > 0 ? x_pitch : C; }
  int64_t yp() const { return y_pitch > 0 ? y_pitch : K; }
  int64_t wp() const { return weight_pitch > 0 ? weight_pitch : C / groups; }
  int64_t input_positions() const { return int64_t{N} * H * W; }
  int64_t output_positions() const { return int64_t{N} * P * Q; }
};

// What one direction of a problem takes. Offsets are bytes into the workspace, which lies on 16 bytes.
struct Conv2dPlan {
  bool fold;              // whether the product takes input and weights folded: conv2d_fold_kernel, unless x_folded
  Conv2dProblem problem;  // that the matrix product solves: the given one, or the folded one
  GemmProblem gemm;
  GemmConfig config;
  int64_t x_offset;       // of the folded input, unless x_folded
  int64_t weight_offset;  // of the folded weights, or of their gradient in float32
  int64_t partial_offset;
  int64_t workspace_bytes;
};

inline int chunk_elements(Precision precision) {
  return 16 / precision_bytes(precision);
}

// Space to depth: stride_h * stride_w positions become the channels of one, so that a filter of stride 1 sees the same
// elements; channels are padded with zeros to a multiple of 16 bytes. conv1: 227 x 227 x 3 with 11 x 11 filters of
// stride 4 becomes 57 x 57 x 48 with 3 x 3 filters.
inline Conv2dProblem fold_problem(const Conv2dProblem& problem) {
  const int chunk = chunk_elements(problem.precision);
  Conv2dProblem folded = problem;
  folded.R = (problem.R + problem.stride_h - 1) / problem.stride_h;
  folded.S = (problem.S + problem.stride_w - 1) / problem.stride_w;
  folded.H = problem.P + folded.R - 1;
  folded.W = problem.Q + folded.S - 1;
  folded.C = (problem.stride_h * problem.stride_w * problem.C + chunk - 1) / chunk * chunk;
  folded.stride_h = folded.stride_w = 1;
  folded.padding_h = folded.padding_w = 0;
  folded.x_pitch = folded.weight_pitch = 0;
  folded.x_folded = false;
  return folded;
}

inline FoldShape x_fold_shape(const Conv2dProblem& p) {
  const Conv2dProblem folded = fold_problem(p);
  return {p.N, p.H, p.W, p.C, p.stride_h, p.stride_w, p.padding_h, p.padding_w, folded.H, folded.W, folded.C};
}

inline FoldShape weight_fold_shape(const Conv2dProblem& p) {
  const Conv2dProblem folded = fold_problem(p);
  return {p.K, p.R, p.S, p.C, p.stride_h, p.stride_w, 0, 0, folded.R, folded.S, folded.C};
}

// Channels that are not a multiple of 16 bytes can only be folded where they are one dense group.
inline bool can_fold(const Conv2dProblem& problem) {
  return problem.groups == 1 && problem.C % chunk_elements(problem.precision) != 0 && problem.xp() == problem.C &&
         problem.wp() == problem.C;
}

// Folding x pays only where the other operand has whole chunks too.
inline bool should_fold(const Conv2dProblem& problem, Direction direction, bool aligned) {
  const int chunk = chunk_elements(problem.precision);
  if (direction == Direction::kDgrad || !can_fold(problem)) return false;
  return direction == Direction::kFprop || problem.x_folded ||
         (aligned && problem.K % chunk == 0 && problem.yp() % chunk == 0);
}

inline GemmProblem conv2d_gemm(const Conv2dProblem& p, Direction direction, bool aligned) {
  const int chunk = chunk_elements(p.precision);
  const int64_t taps = int64_t{p.R} * p.S;
  const bool x_chunks = p.group_c() % chunk == 0 && p.xp() % chunk == 0;
  const bool y_chunks = p.group_k() % chunk == 0 && p.yp() % chunk == 0;
  const bool weight_chunks = p.group_c() % chunk == 0 && p.wp() % chunk == 0;
  switch (direction) {
    case Direction::kFprop:
      return {p.output_positions(),
              p.group_k(),
              taps * p.group_c(),
              p.groups,
              p.precision,
              aligned && x_chunks && weight_chunks,
              true};
    case Direction::kDgrad:
      return {p.input_positions(),
              p.group_c(),
              taps * p.group_k(),
              p.groups,
              p.precision,
              aligned && y_chunks && weight_chunks,
              true};
    case Direction::kWgrad:
      return {p.group_k(), taps * p.group_c(), p.output_positions(),
              p.groups,    p.precision,        aligned && x_chunks && y_chunks,
              false};
  }
  throw std::invalid_argument("unknown direction");
}

inline void check_conv2d(const Conv2dProblem& p) {
  const auto fail = [](const std::string& given, const char* expected) {
    throw std::invalid_argument(given + "; expected " + expected);
  };
  const auto text = [](int64_t value) { return std::to_string(value); };
  // Tile and pipeline may look a little beyond the last index.
  constexpr int64_t kMost = (int64_t{1} << 31) - (1 << 20);
  constexpr int64_t kMostSide = 1 << 28;
  // More than any memory holds; counts of bytes and of partial sums stay far from overflowing.
  constexpr int64_t kMostElements = int64_t{1} << 44;
  if (p.N < 0) fail("N is " + text(p.N), "0 or more");
  for (const auto& [name, size] : {std::pair{"H", p.H},
                                   {"W", p.W},
                                   {"C", p.C},
                                   {"K", p.K},
                                   {"R", p.R},
                                   {"S", p.S},
                                   {"stride", p.stride_h},
                                   {"stride", p.stride_w},
                                   {"groups", p.groups}}) {
    if (size < 1 || size > kMostSide) fail(std::string(name) + " is " + text(size), "1 to 2^28");
  }
  for (const int padding : {p.padding_h, p.padding_w}) {
    if (padding < 0 || padding > kMostSide) fail("padding is " + text(padding), "0 to 2^28");
  }
  if (p.C % p.groups != 0 || p.K % p.groups != 0) {
    fail("groups is " + text(p.groups) + " for C = " + text(p.C) + " and K = " + text(p.K), "a divisor of both");
  }
  if (p.P < 1 || p.Q < 1) {
    fail("the filter is " + text(p.R) + " x " + text(p.S), "one that fits the padded input");
  }
  if (p.xp() < p.C || p.yp() < p.K || p.wp() < p.group_c()) fail("a pitch is less than its channels", "as much");
  if (can_fold(p) && p.stride_h > kMostSide / p.stride_w / p.C) {
    fail("a stride is too large", "cells of at most 2^28 elements");
  }
  if (p.x_folded && !can_fold(p)) {
    fail("x is folded, of " + text(p.groups) + " groups and " + text(p.C) + " channels",
         "one dense group of channels that are not a multiple of 16 bytes");
  }
  if (p.input_positions() > kMost || p.output_positions() > kMost) {
    fail("there are " + text(p.input_positions()) + " input positions", "fewer than 2^31 of input and output");
  }
  // With its padding, from the first filter's beginning to the last one's end.
  const int64_t padded_h = std::max(int64_t{p.H} + p.padding_h, int64_t{p.P - 1} * p.stride_h + p.R);
  const int64_t padded_w = std::max(int64_t{p.W} + p.padding_w, int64_t{p.Q - 1} * p.stride_w + p.S);
  if (padded_h > kMost / p.xp() / padded_w) {
    fail("an image is too large", "fewer than 2^31 elements with its padding");
  }
  if (int64_t{p.R} * p.S > kMost / std::max(p.group_c(), p.group_k())) {
    fail("a filter is too large", "fewer than 2^31 elements");
  }
  if (p.input_positions() > kMostElements / p.xp() || p.output_positions() > kMostElements / p.yp() ||
      int64_t{p.R} * p.S * p.K > kMostElements / p.wp()) {
    fail("a tensor is too large", "at most 2^44 elements");
  }
  if (p.groups > 1023) fail("groups is " + text(p.groups), "at most 1023");
}

inline ColumnSumConfig bias_sum_config(const Conv2dProblem& problem) {
  return column_sum_config({problem.output_positions(), problem.K, precision_bytes(problem.precision)});
}

// `aligned`: the operands lie on 16 bytes. Of the machine only the tile depends, so neither the workspace nor any bit.
// Throws std::invalid_argument for sizes that no kernel takes.
inline Conv2dPlan conv2d_plan(const Conv2dProblem& problem, Direction direction, bool aligned, const Machine& machine,
                              const GemmForce& force = {}) {
  check_conv2d(problem);
  Conv2dPlan plan{};
  plan.fold = should_fold(problem, direction, aligned);
  plan.problem = plan.fold ? fold_problem(problem) : problem;
  if (plan.fold) check_conv2d(plan.problem);
  plan.gemm = conv2d_gemm(plan.problem, direction, aligned || (plan.fold && direction == Direction::kFprop));
  plan.config = gemm_config(plan.gemm, machine, force);
  const auto reserve = [&plan](int64_t bytes) {
    const int64_t offset = plan.workspace_bytes;
    plan.workspace_bytes += (bytes + 255) / 256 * 256;
    return offset;
  };
  if (plan.fold) {
    const Conv2dProblem& folded = plan.problem;
    const int bytes = precision_bytes(problem.precision);
    const int64_t weights = int64_t{folded.K} * folded.R * folded.S * folded.C;
    if (!problem.x_folded) plan.x_offset = reserve(folded.input_positions() * folded.C * bytes);
    plan.weight_offset = reserve(weights * (direction == Direction::kWgrad ? 4 : bytes));
  }
  // The bias gradient's partial sums come after the product's and take their room.
  const int64_t bias_floats =
      direction == Direction::kWgrad ? column_sum_workspace_floats(bias_sum_config(problem), problem.K) : 0;
  plan.partial_offset = reserve(4 * std::max(plan.config.partial_floats(plan.gemm), bias_floats));
  return plan;
}

// One line: "folded, tile 128x96 ..., 1 split: reason".
inline std::string describe_plan(const Conv2dPlan& plan, const Machine& machine, const GemmForce& force) {
  const GemmConfig& config = plan.config;
  return std::string(plan.fold ? "folded, " : "") + std::to_string(plan.gemm.groups) + " times " +
         std::to_string(plan.gemm.m) + " x " + std::to_string(plan.gemm.n) + " x " + std::to_string(plan.gemm.k) +
         ", tile " + std::to_string(config.tile_m) + "x" + std::to_string(config.tile_n) + "x" +
         std::to_string(config.tile_k) + (config.vector ? "" : " by scalar loads") + ": " +
         gemm_reason(plan.gemm, config, machine, force);
}

}  // namespace alexnet
