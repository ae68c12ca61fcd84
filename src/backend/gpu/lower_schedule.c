/* lower_schedule.c: commands sorted so that few of them wait.
 *
 * Every barrier costs a card some microseconds in which its memory idles, and a token has hundreds of them. Commands that touch
 * nothing of each other need none between them: so each is put as early as what it touches allows (its level), whatever the
 * order in which the plan names the operations. A shared expert computes beside the router that way.
 */
#include "backend/gpu/lower.h"

static bool clash(const struct bt_gpu_range *a, const struct bt_gpu_range *b)
{
	return (a->write || b->write) && a->address < b->address + b->size && b->address < a->address + a->size;
}

/* Parts of a matrix write different rows, or for different experts, and those of a cache for different heads, though between the same
 * ends. */
static bool of_one_product(const struct bt_gpu_emitted *a, const struct bt_gpu_emitted *b)
{
	return a->product && a->product == b->product && a->cmd.kernel == b->cmd.kernel;
}

static bool meet(const struct bt_gpu_lowering *l, const struct bt_gpu_emitted *a, const struct bt_gpu_emitted *b)
{
	if (of_one_product(a, b)) return false;
	for (uint32_t i = 0; i < a->n; i++)
		for (uint32_t j = 0; j < b->n; j++)
			if (clash(&l->range[a->first + i], &l->range[b->first + j])) return true;
	return false;
}

/* Levels of all commands; returns their number. */
static uint32_t find_levels(struct bt_gpu_lowering *l)
{
	uint32_t highest = 0;
	for (uint32_t i = 0; i < l->n; i++) {
		struct bt_gpu_emitted *c = &l->emitted[i];
		c->level = 0;
		/* Backwards, as long as there may be one of a higher level than that which was found. */
		for (uint32_t j = i; j > 0 && l->emitted[j - 1].highest >= c->level; j--) {
			const struct bt_gpu_emitted *before = &l->emitted[j - 1];
			if (before->level >= c->level && meet(l, c, before)) c->level = before->level + 1;
		}
		if (highest < c->level) highest = c->level;
		c->highest = highest;
	}
	return l->n ? highest + 1 : 0;
}

enum baton_status bt_gpu_schedule(struct bt_gpu_lowering *l, struct bt_gpu_cmd **cmds, uint32_t *n)
{
	*cmds = NULL;
	*n = 0;
	if (l->status) return l->status;
	uint32_t levels = find_levels(l);
	struct bt_gpu_cmd *out = bt_mem_array(BT_MEM_HOST, (size_t)l->n + 1, sizeof *out);
	uint32_t *at = bt_mem_array(BT_MEM_HOST, (size_t)levels + 1,
	                            sizeof *at); /* where the level's next command goes */
	if (!out || !at) {
		bt_mem_free(out);
		bt_mem_free(at);
		return bt_fail_nomem(l->err, 0, "a step's commands");
	}
	for (uint32_t i = 0; i < l->n; i++) at[l->emitted[i].level + 1]++;
	for (uint32_t i = 0; i < levels; i++) at[i + 1] += at[i];
	for (uint32_t i = 0; i < l->n; i++) out[at[l->emitted[i].level]++] = l->emitted[i].cmd;
	for (uint32_t i = 0; i + 1 < levels; i++)
		out[at[i]].barrier = true; /* where a level ends the next one begins */
	bt_mem_free(at);
	*cmds = out;
	*n = l->n;
	return BATON_OK;
}
