// Where the elements of an operand are: each source shows a tensor as a matrix of rows and columns. Which of M, N and K
// they are, gemm_block says.
//
// Neighbouring columns lie next to each other in memory within a segment (the channels of one filter tap, say); a
// vector load needs segments that are whole vectors. row() and column() hold what is worth computing once, address()
// joins them. An address outside the matrix or in the padding is null and counts as zero. Indices are below 2^31,
// offsets 64 bit.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/fast_divmod.h"

namespace alexnet {

// Beyond every size that a tensor may have, and twice it still fits an int.
constexpr int kOutside = 1 << 29;

// A matrix whose rows and columns come in segments of a constant pitch: element (i, j) is at
// (i / row_segment) * row_segment_pitch + (i % row_segment) * row_pitch + (j / segment) * segment_pitch + j % segment.
template <typename T>
struct StridedSource {
  const T* data;  // of a group rows x columns elements
  int32_t rows, columns;
  FastDivmod row_segment, segment;
  int64_t row_segment_pitch, row_pitch, segment_pitch;
  int64_t group_pitch;

  struct Row {
    int64_t offset;  // negative: outside
  };
  struct Column {
    int64_t offset;
  };

  __device__ void select_group(int group) { data += group * group_pitch; }

  __device__ Row row(int index) const {
    if (index >= rows) return {-1};
    const int high = row_segment.quotient(index);
    return {high * row_segment_pitch + row_segment.remainder(index, high) * row_pitch};
  }
  __device__ Column column(int index) const {
    if (index >= columns) return {-1};
    const int high = segment.quotient(index);
    return {high * segment_pitch + segment.remainder(index, high)};
  }
  __device__ const T* address(const Row& row, const Column& column) const {
    return (row.offset | column.offset) < 0 ? nullptr : data + (row.offset + column.offset);
  }
};

// The patches of x [N, H, W, pitch] that a convolution multiplies with its filters: row (n, p, q), column (r, s, c) is
// x[n, p * stride - padding + r, q * stride - padding + s, c].
template <typename T>
struct PatchSource {
  const T* data;  // [N, height, width, pitch]
  int32_t rows, columns;
  int32_t height, width, pitch;
  int32_t stride_h, stride_w, padding_h, padding_w;
  FastDivmod image, image_row;    // P * Q, Q
  FastDivmod channels, filter_w;  // C / groups, S
  int32_t group_pitch;

  struct Row {
    int64_t offset;  // of tap (0, 0), which may lie in the padding
    int h, w;
  };
  struct Column {
    int offset;
    int r, s;
  };

  __device__ void select_group(int group) { data += static_cast<int64_t>(group) * group_pitch; }

  __device__ Row row(int index) const {
    if (index >= rows) return {0, kOutside, kOutside};
    const int n = image.quotient(index);
    const int place = image.remainder(index, n);
    const int p = image_row.quotient(place);
    const int h = p * stride_h - padding_h;
    const int w = image_row.remainder(place, p) * stride_w - padding_w;
    return {((static_cast<int64_t>(n) * height + h) * width + w) * pitch, h, w};
  }
  __device__ Column column(int index) const {
    if (index >= columns) return {0, kOutside, kOutside};
    const int tap = channels.quotient(index);
    const int r = filter_w.quotient(tap);
    const int s = filter_w.remainder(tap, r);
    return {(r * width + s) * pitch + channels.remainder(index, tap), r, s};
  }
  __device__ const T* address(const Row& row, const Column& column) const {
    const bool inside = static_cast<unsigned>(row.h + column.r) < static_cast<unsigned>(height) &&
                        static_cast<unsigned>(row.w + column.s) < static_cast<unsigned>(width);
    return inside ? data + (row.offset + column.offset) : nullptr;
  }
};

// The places of dy [N, P, Q, pitch] that the input position (n, h, w) had a part in: row (n, h, w), column (r, s, k)
// is dy[n, (h + padding - r) / stride, (w + padding - s) / stride, k] where both divisions are exact, else zero.
template <typename T>
struct GradientPatchSource {
  const T* data;  // [N, height, width, pitch]
  int32_t rows, columns;
  int32_t height, width, pitch;  // P, Q, K or more
  int32_t padding_h, padding_w;
  FastDivmod stride_h, stride_w;
  FastDivmod image, image_row;    // H * W, W
  FastDivmod channels, filter_w;  // K / groups, S
  int32_t group_pitch;

  struct Row {
    int64_t image_offset;
    int h, w;
  };
  struct Column {
    int k;
    int r, s;
  };

  __device__ void select_group(int group) { data += static_cast<int64_t>(group) * group_pitch; }

  __device__ Row row(int index) const {
    if (index >= rows) return {0, -kOutside, -kOutside};
    const int n = image.quotient(index);
    const int place = image.remainder(index, n);
    const int h = image_row.quotient(place);
    return {static_cast<int64_t>(n) * height * width * pitch, h + padding_h, image_row.remainder(place, h) + padding_w};
  }
  __device__ Column column(int index) const {
    if (index >= columns) return {0, kOutside, kOutside};
    const int tap = channels.quotient(index);
    const int r = filter_w.quotient(tap);
    return {channels.remainder(index, tap), r, filter_w.remainder(tap, r)};
  }
  __device__ const T* address(const Row& row, const Column& column) const {
    const int h = row.h - column.r;
    const int w = row.w - column.s;
    if ((h | w) < 0) return nullptr;
    const int p = stride_h.quotient(h);
    const int q = stride_w.quotient(w);
    const bool inside = p < height && q < width && p * stride_h.divisor == h && q * stride_w.divisor == w;
    return inside ? data + (row.image_offset + (static_cast<int64_t>(p) * width + q) * pitch + column.k) : nullptr;
  }
};

}  // namespace alexnet
