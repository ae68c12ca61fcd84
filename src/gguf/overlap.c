/* overlap.c: no two tensors may share a byte. */
#include "gguf/internal.h"

#include <inttypes.h>

/* Heap sort by offset: writers nearly always write in order, but a hostile file must not make this quadratic, and
 * qsort() may allocate behind our allocator's back. */
static void sift(uint32_t *order, size_t root, size_t n, const struct bt_tensor *t)
{
	for (size_t child; (child = 2 * root + 1) < n; root = child) {
		if (child + 1 < n && t[order[child + 1]].offset > t[order[child]].offset) child++;
		if (t[order[root]].offset >= t[order[child]].offset) return;
		uint32_t swap = order[root];
		order[root] = order[child];
		order[child] = swap;
	}
}

static void sort_by_offset(uint32_t *order, size_t n, const struct bt_tensor *t)
{
	for (size_t i = n / 2; i-- > 0;) sift(order, i, n, t);
	for (size_t end = n; end-- > 1;) {
		uint32_t swap = order[0];
		order[0] = order[end];
		order[end] = swap;
		sift(order, 0, end, t);
	}
}

static enum baton_status overlap(const struct bt_gguf_file *f, const struct bt_tensor *a, const struct bt_tensor *b,
                                 struct baton_error *err)
{
	char show_a[96], show_b[96];
	return bt_fail(err, BATON_ERR_FORMAT,
	               "%.200s: the data of tensors '%s' and '%s' overlap (the second begins at byte %" PRIu64
	               ", the first ends at byte %" PRIu64 ")",
	               f->path, bt_str_show(a->name, show_a, sizeof show_a),
	               bt_str_show(b->name, show_b, sizeof show_b), b->offset, a->offset + a->size);
}

enum baton_status bt_directory_check_overlap(const struct bt_gguf_file *f, const struct bt_tensor *tensors, size_t n,
                                             struct baton_error *err)
{
	bool in_order = true;
	for (size_t i = 1; i < n && in_order; i++)
		in_order = tensors[i].offset >= tensors[i - 1].offset + tensors[i - 1].size;
	if (in_order) return BATON_OK;
	uint32_t *order = bt_mem_array(BT_MEM_HOST, n, sizeof *order);
	if (!order) return bt_fail_nomem(err, n * sizeof *order, "checking the order of tensors");
	for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
	sort_by_offset(order, n, tensors);
	enum baton_status status = BATON_OK;
	for (size_t i = 1; i < n && !status; i++) {
		const struct bt_tensor *a = &tensors[order[i - 1]], *b = &tensors[order[i]];
		if (a->offset + a->size > b->offset) status = overlap(f, a, b, err);
	}
	bt_mem_free(order);
	return status;
}
