/* ops.h: the slots of a level that work on rows of floats. */
#ifndef BT_BACKEND_CPU_X86_OPS_H
#define BT_BACKEND_CPU_X86_OPS_H

#include "backend/cpu/kernels.h"
#include "backend/cpu/x86/simd.h"

#if defined __AVX2__ && defined BT_LEVEL
void LEVEL_NAME(quantize_row)(const float *x, size_t k, int8_t *q, float *d, int32_t *sum);
void LEVEL_NAME(rms_norm)(const float *x, const float *w, float eps, size_t n, float *y);
void LEVEL_NAME(add)(const float *a, const float *b, size_t n, float *y);
void LEVEL_NAME(silu_mul)(const float *g, const float *u, size_t n, float *y);
void LEVEL_NAME(sigmoid_mul)(const float *g, const float *u, size_t n, float *y);
void LEVEL_NAME(relu2)(const float *x, size_t n, float *y);
void LEVEL_NAME(rope)(float *x, const float *cos, const float *sin, size_t n_pairs, bool neox);
void LEVEL_NAME(softmax)(const float *x, size_t n, float *p);
void LEVEL_NAME(kv_pack)(const struct bt_type *type, const float *x, void *dst, size_t n);
#endif

#endif
