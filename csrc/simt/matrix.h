// ldmatrix and mma.sync by the lane layouts of the PTX ISA, "Warp-level matrix instructions".
#pragma once

#include <cstdint>

#include "simt/device.h"

namespace alexnet::simt {

enum class MmaInput { kTf32, kBFloat16, kFloat16 };

// Loads `count` (1, 2 or 4) matrices of 8 x 8 16-bit elements; lane 8 i + r brings the address of row r of matrix i.
void ldmatrix(uint32_t* registers, const void* row, int count, bool transposed, Site site);

// One lane's registers of a tile of mma instructions: for all m and n, d[m][n] += a[m] b[n].
struct MmaTile {
  float* d;           // [m_count][n_count][4]
  const uint32_t* a;  // [m_count][4]
  const uint32_t* b;  // [n_count][2]
  int m_count;
  int n_count;
};

// m16n8k8 for TF32, m16n8k16 for BF16 and FP16; all 32 lanes call it.
void mma(MmaInput input, const MmaTile& tile, Site site);

}  // namespace alexnet::simt
