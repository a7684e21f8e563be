// The part of an image that a tile of a convolution reads, with zeros where its padding is: every filter row of a patch
// is then one run of neighbouring numbers, which the micro-kernel reads where it lies. Patches are never unfolded.
#pragma once

#include <new>

#include "cpu/simd.h"

namespace alexnet::cpu::ALEXNET_CPU_ISA {

struct Image {
  const float* data;  // [height, width, pitch], from the first channel that is read on
  int height, width;
  ptrdiff_t pitch;
  int channels;
};

// Rows top to top + rows and columns left to left + columns of an image; they may lie outside.
struct Window {
  const float* data;  // [rows, columns, pixel]
  ptrdiff_t row, pixel;
};

inline size_t window_floats(int rows, int columns, int channels) {
  const size_t positions = static_cast<size_t>(rows) * columns;
  if (positions > (size_t{1} << 40) / channels) throw std::bad_alloc();  // of a huge padding; the product may overflow
  return (positions * channels + 15) / 16 * 16;
}

inline void copy_floats(float* to, const float* from, ptrdiff_t count) {
  std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
}
inline void zero_floats(float* to, ptrdiff_t count) {
  std::memset(to, 0, static_cast<size_t>(count) * sizeof(float));
}

// Copies to `buffer`, unless all of it lies in a dense image as it is needed.
inline Window take_window(const Image& x, int top, int left, int rows, int columns, float* buffer) {
  if (x.pitch == x.channels && top >= 0 && left >= 0 && top + rows <= x.height && left + columns <= x.width) {
    return {x.data + (static_cast<ptrdiff_t>(top) * x.width + left) * x.pitch, x.width * x.pitch, x.pitch};
  }
  const ptrdiff_t c = x.channels;
  const int from = left < 0 ? (-left < columns ? -left : columns) : 0;
  const int inside = x.width - left < columns ? x.width - left : columns;
  const int to = inside > from ? inside : from;
  float* line = buffer;
  for (int i = 0; i < rows; ++i, line += columns * c) {
    const int h = top + i;
    if (h < 0 || h >= x.height) {
      zero_floats(line, columns * c);
      continue;
    }
    zero_floats(line, from * c);
    const float* source = x.data + (static_cast<ptrdiff_t>(h) * x.width + left + from) * x.pitch;
    if (x.pitch == c) {
      copy_floats(line + from * c, source, (to - from) * c);
    } else {
      for (int j = from; j < to; ++j, source += x.pitch) copy_floats(line + j * c, source, c);
    }
    zero_floats(line + to * c, (columns - to) * c);
  }
  return {buffer, columns * c, c};
}

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
