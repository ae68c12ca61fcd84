/* walk_norm.c: products that normalise their input themselves (kernels/norm_in.k), against the norm, the rounding and the product as
 * commands of their own. */
#include "walk.h"

static const struct kernels {
	uint16_t matvec, gate, norm_matvec, norm_gate;
} kernels[BT_GPU_FORMATS] = {
#define FORMAT(name, ...)                                                                                                \
	[BT_GPU_F_##name] = {BT_GPU_K_matvec_##name##_1, BT_GPU_K_gate_##name##_1, BT_GPU_K_norm_matvec_##name, \
	                     BT_GPU_K_norm_gate_##name},
#include "backend/gpu/kernels/formats.inc"
#undef FORMAT
};

/* The same values by both ways: in the emulator the same bits. */
static void same(struct walk *w, struct bt_dev_mem y[2], uint64_t rows)
{
	float *v[2];
	for (int i = 0; i < 2; i++) take(w, v[i] = calloc(rows, 4), &y[i], rows * 4);
	judge(w, OP_NORM_PRODUCT, v[1], v[0], rows);
	if (w->fused && memcmp(v[0], v[1], rows * 4)) fail(w, "other bits than norm and product apart");
	free(v[0]), free(v[1]);
}

static void walk_format(struct walk *w, const struct bt_type *type, uint64_t k, uint64_t rows, uint32_t split, bool weights)
{
	struct bt_tensor t[2] = {matrix_of(w, type, k, rows), matrix_of(w, type, k, rows)};
	const struct bt_gpu_matrix *m[2];
	struct bt_gpu_mat mat[2];
	float *x = rows_of(w, k), *by = rows_of(w, k), *bias = rows_of(w, rows);
	snprintf(w->what, sizeof w->what, "norm and %s %llu x %llu, split by %u", type->name, (unsigned long long)rows,
	         (unsigned long long)k, split);
	for (int i = 0; i < 2; i++) {
		if (bt_gpu_weights_get((struct bt_gpu_device *)w->device, &t[i], false, &m[i], &w->err)) {
			fail(w, w->err.text);
			return;
		}
		mat[i] = (struct bt_gpu_mat){m[i]->plane[0], m[i]->plane[1], m[i]->plane[2], m[i]->plane[3]};
	}
	struct bt_dev_mem dx = put(w, x, k * 4), dw = put(w, by, k * 4), db = put(w, bias, rows * 4),
			  dq = put(w, NULL, k / 32 * 48), y[2], z[2];
	for (int i = 0; i < 2; i++) y[i] = put(w, NULL, rows * 4), z[i] = put(w, NULL, rows * 4);
	const struct kernels *has = &kernels[m[0]->format];
	uint32_t n_rows = (uint32_t)rows, n_blocks = m[0]->n_blocks, tall = 32 / split, gate_split = split < 4 ? split : 4;
	struct bt_gpu_norm norm = {
		.x = at(&dx), .w = weights ? at(&dw) : 0, .xq = at(&dq), .n = (uint32_t)k, .n_groups = 1, .n_total = 1, .eps = 1e-5f};
	struct bt_gpu_matvec p = {.w = mat[0],
	                          .xq = at(&dq),
	                          .y = at(&y[0]),
	                          .bias = at(&db),
	                          .n_rows = n_rows,
	                          .n_blocks = n_blocks,
	                          .n_tokens = 1,
	                          .split = split};
	struct bt_gpu_norm_matvec np = {.w = mat[0],
	                                .x = norm.x,
	                                .norm = norm.w,
	                                .y = at(&y[1]),
	                                .bias = p.bias,
	                                .n_rows = n_rows,
	                                .n_blocks = n_blocks,
	                                .split = split,
	                                .eps = norm.eps};
	struct bt_gpu_gate g = {.gate = mat[0],
	                        .up = mat[1],
	                        .xq = p.xq,
	                        .y = at(&z[0]),
	                        .n_rows = n_rows,
	                        .n_blocks = n_blocks,
	                        .n_tokens = 1,
	                        .split = gate_split};
	struct bt_gpu_norm_gate ng = {.gate = mat[0],
	                              .up = mat[1],
	                              .x = norm.x,
	                              .norm = norm.w,
	                              .y = at(&z[1]),
	                              .n_rows = n_rows,
	                              .n_blocks = n_blocks,
	                              .split = gate_split,
	                              .eps = norm.eps};
	launch(w, BT_GPU_K_rms_norm, &norm, 1, 1, 1);
	launch(w, has->matvec, &p, (n_rows + tall - 1) / tall, 1, 1);
	launch(w, has->norm_matvec, &np, (n_rows + tall - 1) / tall, 1, 1);
	launch(w, has->gate, &g, (n_rows + 31) / 32, 1, 1);
	launch(w, has->norm_gate, &ng, (n_rows + 31) / 32, 1, 1);
	same(w, y, rows);
	same(w, z, rows);
	struct bt_dev_mem *all[] = {&dx, &dw, &db, &dq};
	for (int i = 0; i < 4; i++) bt_gpu_device_free(w->device, all[i]);
	for (int i = 0; i < 2; i++) {
		((struct bt_gpu_matrix *)m[i])->tensor = NULL;
		free((void *)t[i].data);
	}
	free(x), free(by), free(bias);
}

void walk_norm_in(struct walk *w)
{
	bool walked[BT_GPU_FORMATS] = {false};
	for (uint32_t id = 0; id < BT_TYPE_COUNT; id++) {
		const struct bt_type *type = bt_type_get(id);
		enum bt_gpu_format f = type ? bt_gpu_format_of(type, false) : BT_GPU_F_f32;
		if (!type || bt_gpu_format_is_float(f) || walked[f]) continue;
		walked[f] = true;
		walk_format(w, type, 1280, 35, 1, true);
		walk_format(w, type, 2304, 9, 4, f % 2);
	}
	walk_format(w, bt_type_get(BT_TYPE_Q8_0), 8192, 3, 16, true);
}
