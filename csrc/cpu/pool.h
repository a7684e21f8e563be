// LRN, max-pooling, and both in one pass: parameters. lrn_rows.h and pool_work.h have the arithmetic.
#pragma once

#include <cstdint>

namespace alexnet::cpu {

struct LrnWindow {
  int size;    // odd
  int groups;  // of channels; no window leaves one
  float k, alpha, beta;
};

// x [N, H, W, C], y [N, P, Q, C]. Without a pool y is as x, and size and stride are 1. Padding is what the first
// windows begin before the image; of windows that reach out of it the taps inside count.
struct PoolShape {
  int N, H, W, C, P, Q, size, stride, padding_h, padding_w;
};

struct PoolFpropParams {
  PoolShape shape;
  bool normalise;  // x by `window` before it is pooled
  LrnWindow window;
  const float* x;
  float* y;
  uint8_t* argmax;  // [N, P, Q, C], the tap of the first maximum; null: not wanted
};

struct PoolBpropParams {
  PoolShape shape;
  bool normalise;
  LrnWindow window;
  const float* dy;
  const uint8_t* argmax;  // null: no pool
  const float* x;         // of the normalisation
  const float* y;         // of the pool: where it is not positive nothing passes; null: everything does
  bool relu;              // dx is 0 where x is not positive
  float* dx;              // may be dy without a pool
};

}  // namespace alexnet::cpu
