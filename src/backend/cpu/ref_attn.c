/* ref_attn.c: plain C: attention of one query and head at a time, in the order that kernels.h fixes. */
#include "backend/cpu/levels.h"
#include "backend/cpu/order.h"

#include <string.h>

/* A running softmax over keys: the largest score, the sum of the exponentials and the weighted sum of the values. */
struct part {
	float max, sum;
	float *acc; /* [d_v] */
};

static const void *kv_row(const void *base, size_t page_bytes, const struct bt_type *type, uint32_t page, uint32_t head,
                          uint32_t slot, uint32_t d)
{
	size_t row = (size_t)head * BT_KV_PAGE + slot;
	return (const char *)base + page * page_bytes + row * bt_type_row_bytes(type, d);
}

/* Add keys first <= i < end of page p, all seen, to the split's part. row: scratch of max(d_k, d_v) values. */
static void add_page(const struct bt_cpu_attn *a, uint32_t head, const float *q, size_t p, uint32_t first, uint32_t end,
                     struct part *part, float *row)
{
	float s[BT_KV_PAGE], sum[16] = {0}, max = part->max;
	for (uint32_t i = first; i < end; i++) {
		a->k_type->unpack(kv_row(a->k, a->k_page_bytes, a->k_type, a->pages[p], head, i, a->d_k), row, a->d_k);
		s[i] = 0.0f;
		for (uint32_t d = 0; d < a->d_k; d++) s[i] = fmaf(q[d], row[d], s[i]);
		if (a->softcap != 0.0f) s[i] = a->softcap * bt_tanhf(s[i] / a->softcap);
		max = s[i] > max ? s[i] : max;
	}
	if (max > part->max) {
		float c = bt_expf(part->max - max);
		part->sum *= c;
		for (uint32_t d = 0; d < a->d_v; d++) part->acc[d] *= c;
		part->max = max;
	}
	for (uint32_t i = first; i < end; i++) {
		s[i] = bt_expf(s[i] - max);
		sum[i % 16] += s[i];
		a->v_type->unpack(kv_row(a->v, a->v_page_bytes, a->v_type, a->pages[p], head, i, a->d_v), row, a->d_v);
		for (uint32_t d = 0; d < a->d_v; d++) part->acc[d] = fmaf(s[i], row[d], part->acc[d]);
	}
	part->sum += bt_tree16(sum);
}

static void merge(struct part *all, const struct part *part, uint32_t d_v)
{
	float m = all->max > part->max ? all->max : part->max;
	float a = bt_expf(all->max - m), b = bt_expf(part->max - m);
	all->sum = fmaf(all->sum, a, part->sum * b);
	for (uint32_t d = 0; d < d_v; d++) all->acc[d] = fmaf(all->acc[d], a, part->acc[d] * b);
	all->max = m;
}

static void one_query(const struct bt_cpu_attn *a, uint32_t head, const float *q, int32_t pos, float *out,
                      float *scratch)
{
	size_t end = (size_t)pos + 1, first = a->window && end > a->window ? end - a->window : 0;
	float *row = scratch + a->d_k;
	struct part all = {.acc = out}, part = {.acc = row + (a->d_k > a->d_v ? a->d_k : a->d_v)};
	for (uint32_t d = 0; d < a->d_k; d++) scratch[d] = q[d] * a->scale;
	bool any = false;
	for (size_t i = first; i < end;) {
		part.max = -INFINITY;
		part.sum = 0.0f;
		memset(part.acc, 0, a->d_v * sizeof(float));
		size_t split_end = (i / BT_CPU_ATTN_SPLIT + 1) * BT_CPU_ATTN_SPLIT;
		if (split_end > end) split_end = end;
		while (i < split_end) {
			size_t p = i / BT_KV_PAGE, page_end = (p + 1) * BT_KV_PAGE;
			if (page_end > split_end) page_end = split_end;
			add_page(a, head, scratch, p, (uint32_t)(i - p * BT_KV_PAGE),
			         (uint32_t)(page_end - p * BT_KV_PAGE), &part, row);
			i = page_end;
		}
		if (any) {
			merge(&all, &part, a->d_v);
		} else {
			memcpy(out, part.acc, a->d_v * sizeof(float));
			all.max = part.max;
			all.sum = part.sum;
			any = true;
		}
	}
	float scale = 1.0f / all.sum;
	for (uint32_t d = 0; d < a->d_v; d++) out[d] *= scale;
}

void bt_ref_attention(const struct bt_cpu_attn *a, uint32_t head, size_t q0, size_t q1, void *scratch)
{
	uint32_t group = a->n_head / a->n_head_kv;
	for (size_t j = q0; j < q1; j++)
		for (uint32_t h = head * group; h < (head + 1) * group; h++)
			one_query(a, head, a->q + a->row[j] * a->q_stride + (size_t)h * a->d_k, a->pos[j],
			          a->out + a->row[j] * a->out_stride + (size_t)h * a->d_v, scratch);
}
