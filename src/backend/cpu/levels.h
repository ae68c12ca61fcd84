/* levels.h: what the files of the CPU back end share: each level's own initialiser and the plain C reference.
 *
 * An initialiser overwrites the slots that its level does better and adds what scratch memory they need; it is called
 * for its own level and for all above it.
 */
#ifndef BT_BACKEND_CPU_LEVELS_H
#define BT_BACKEND_CPU_LEVELS_H

#include "backend/cpu/kernels.h"

/* The limits that the table was asked for (bt_cpu_kernels_init). */
struct bt_cpu_sizes {
	size_t k_max, d_max;
};

void bt_cpu_init_c(struct bt_cpu_kernels *k, const struct bt_cpu_sizes *sizes);
#if defined __x86_64__
void bt_cpu_init_avx2(struct bt_cpu_kernels *k, const struct bt_cpu_sizes *sizes);
void bt_cpu_init_avx512(struct bt_cpu_kernels *k, const struct bt_cpu_sizes *sizes);
void bt_cpu_init_avx512vnni(struct bt_cpu_kernels *k, const struct bt_cpu_sizes *sizes);
#endif

/* The plain C kernels: ref_matmul.c, ref_ops.c, ref_attn.c, ref_recurrent.c. */
void bt_ref_quantize_row(const float *x, size_t k, int8_t *q, float *d, int32_t *sum);
void bt_ref_pack(const struct bt_cpu_acts *x, size_t t0, size_t t1);
void bt_ref_matmul_int(const struct bt_cpu_matmul *m, size_t row0, size_t row1, void *scratch);
void bt_ref_matmul_float(const struct bt_cpu_matmul *m, size_t row0, size_t row1, void *scratch);
void bt_ref_rms_norm(const float *x, const float *w, float eps, size_t n, float *y);
void bt_ref_add(const float *a, const float *b, size_t n, float *y);
void bt_ref_silu_mul(const float *g, const float *u, size_t n, float *y);
void bt_ref_sigmoid_mul(const float *g, const float *u, size_t n, float *y);
void bt_ref_relu2(const float *x, size_t n, float *y);
void bt_ref_rope(float *x, const float *cos, const float *sin, size_t n_pairs, bool neox);
void bt_ref_softmax(const float *x, size_t n, float *p);
void bt_ref_kv_pack(const struct bt_type *type, const float *x, void *dst, size_t n);
void bt_ref_conv(const struct bt_cpu_conv *c, size_t c0, size_t c1);
void bt_ref_delta_net(const struct bt_cpu_recurrence *r, size_t col0, size_t col1);
void bt_ref_mamba2(const struct bt_cpu_recurrence *r, size_t col0, size_t col1);
void bt_ref_attention(const struct bt_cpu_attn *a, uint32_t head, size_t q0, size_t q1, void *scratch);

/* Scratch bytes of the plain C kernels. */
size_t bt_ref_scratch(const struct bt_cpu_sizes *sizes);

#endif
