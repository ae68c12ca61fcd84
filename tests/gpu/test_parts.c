/* Models whose matrices, or caches, stand in parts, as on a device that gives little memory at once (backend/gpu/device.h,
 * engine/cache.h): logits have the bits that they have in one part, in whatever order the parts are computed; memory is counted, given back and trimmed; what may
 * not be cut is refused. In the emulator, and with the argument Vulkan0 on that device.
 */
#include "../engine/helpers.h"
#include "backend/gpu/exec.h"
#include "base/mem.h"
#include "engine/session.h"
#include "faulty_driver.h"

extern const struct bt_backend bt_backend_cpu, bt_backend_null;
extern const struct bt_backend bt_backend_vulkan;
extern const struct bt_gpu_driver bt_vk_driver;

/* Vulkan, with the limits that faulty.part and faulty.max_alloc set for the emulator. */
static struct bt_gpu_driver small_driver;
static struct bt_backend small_vulkan;
const struct bt_backend *const bt_backend_table[] = {&bt_backend_cpu, &bt_backend_faulty, &small_vulkan, NULL};

static enum baton_status open_gpu(uint32_t index, const struct bt_device_params *params, struct bt_gpu **out,
                                  struct baton_error *err)
{
	enum baton_status status = bt_vk_driver.open(index, params, out, err);
	if (!status) (*out)->caps.part = faulty.part;
	return status;
}

static enum baton_status open_device(uint32_t index, const struct bt_device_params *params, struct bt_device **out,
                                     struct baton_error *err)
{
	return bt_gpu_device_open(&small_vulkan, &small_driver, index, params, out, err);
}

static enum baton_status describe(uint32_t index, struct bt_device_info *out, struct baton_error *err)
{
	enum baton_status status = bt_backend_vulkan.describe(index, out, err);
	if (faulty.max_alloc) out->max_alloc = faulty.max_alloc;
	return status;
}

static const char *device = "GPU0";
static bool emulated = true;

#define PROMPT 40

/* Steps of many tokens, of some, and of single ones. */
static const size_t steps[] = {PROMPT, 20, 1, 3, 6, 1};
#define N_STEPS (sizeof steps / sizeof *steps)

static struct baton_session_params params_for(void)
{
	struct baton_session_params p = baton_session_params_default();
	p.device = device;
	p.n_ctx = 128;
	p.n_ubatch = PROMPT;
	p.n_threads = 1;
	p.n_gpu_layers = 99;
	return p;
}

/* The matrices of products of the first GPU's plan: how many stand in parts; the most parts of one in *most. */
static unsigned cut(const struct baton_session *s, uint32_t *most)
{
	unsigned n = 0;
	*most = 0;
	for (uint32_t d = 0; d < s->devices.n; d++) {
		const struct bt_session_device *dev = &s->devices.device[d];
		const struct bt_exec *e = dev->exec;
		for (uint32_t i = 0; dev->backend->run == bt_gpu_run && i < e->c.plan->n_ops; i++) {
			const struct bt_op *op = &e->c.plan->op[i];
			for (uint32_t j = 0; bt_op_multiplies(op) && j < op->matmul.n_mats; j++) {
				uint32_t parts = e->node[i].mat[j]->n_parts;
				n += parts > 1;
				if (*most < parts) *most = parts;
			}
		}
	}
	return n;
}

/* Logits of the last token of every step: [N_STEPS][n_vocab], the caller's. */
static float *logits_of(struct baton_model *m, struct baton_session *s)
{
	size_t row = m->plan.n_vocab;
	float *out = malloc(N_STEPS * row * sizeof *out);
	for (size_t k = 0, done = 0; k < N_STEPS; done += steps[k++]) {
		struct baton_input in[PROMPT];
		for (size_t i = 0; i < steps[k]; i++)
			in[i] = (struct baton_input){.token = prompt_token(0, done + i), .logits = i + 1 == steps[k]};
		eval(s, in, steps[k]);
		memcpy(out + k * row, baton_logits(s, steps[k] - 1), row * sizeof *out);
	}
	return out;
}

struct run {
	float *logits;
	uint64_t held; /* bytes of weights on the device */
	unsigned cut;
	uint32_t most;
};

static struct run run(const char *name, uint64_t part, bool exact, bool backwards)
{
	struct baton_model *m = open_fixture(name, false);
	struct baton_session_params p = params_for();
	p.exact = exact;
	faulty.part = part;
	faulty.backwards = backwards;
	struct baton_session *s = open_session(m, &p);
	struct run r = {.logits = logits_of(m, s)};
	r.cut = cut(s, &r.most);
	r.held = bt_store_held(m->store, emulated ? &bt_backend_faulty : &small_vulkan, 0);
	baton_session_close(&s);
	baton_model_close(&m);
	faulty.part = 0;
	faulty.backwards = false;
	return r;
}

static void same_logits(const char *name, const struct run *a, const struct run *b, uint32_t n_vocab)
{
	for (size_t k = 0; k < N_STEPS; k++)
		if (memcmp(a->logits + k * n_vocab, b->logits + k * n_vocab, n_vocab * sizeof(float)))
			fail_msg("%s: other logits in parts, step %zu of %zu tokens", name, k, steps[k]);
}

/* Sizes such that matrices, stacks of experts and logits are cut, each model's own: a tiny model's matrices are tiny. */
static const struct cut_model {
	const char *name;
	uint64_t part;
	bool exact;
	bool slow; /* not in the emulator */
} models[] = {
	{"qwen2.Q4_K_M", 20000, false, false},         {"qwen35moe.Q4_0", 60000, false, false},
	{"nemotron_h_moe.Q5_K_M", 50000, false, true}, {"qwen2.IQ4_XS", 30000, false, true},
	{"llama-plain.F32", 40000, false, true},       {"llama-rope.Q8_0", 100000, true, true},
};

static void logits_have_the_bits_of_one_part(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
		const struct cut_model *c = &models[i];
		if (c->slow && emulated) continue;
		struct baton_model *m = open_fixture(c->name, false);
		uint32_t n_vocab = m->plan.n_vocab;
		baton_model_close(&m);
		struct run whole = run(c->name, 0, c->exact, false), parts = run(c->name, c->part, c->exact, false);
		assert_int_equal(whole.cut, 0);
		print_message("%s: %u matrices in up to %u parts, %llu bytes in place of %llu\n", c->name, parts.cut,
		              parts.most, (unsigned long long)parts.held, (unsigned long long)whole.held);
		assert_true(parts.cut > 4 && parts.most > 2);
		same_logits(c->name, &whole, &parts, n_vocab);
		if (emulated) {
			/* Parts run side by side: in any order. */
			struct run turned = run(c->name, c->part, c->exact, true);
			same_logits(c->name, &whole, &turned, n_vocab);
			free(turned.logits);
		}
		free(whole.logits);
		free(parts.logits);
	}
}

/* Positions with the store and without it, a recurrence between. */
static const struct cut_cache {
	const char *name, *k, *v;
	bool slow; /* not in the emulator */
} caches[] = {
	{"qwen2.Q4_K_M", "q8_0", "f16", false},
	{"qwen3.Q8_0", "f16", "f16", true},
	{"qwen35.Q8_0", "q8_0", "q8_0", true},
};

/* Bytes of the keys, or the values, of one head; every cache is in `parts`. */
static uint64_t head_bytes(const struct baton_session *s, uint32_t parts)
{
	uint64_t most = 0;
	for (uint32_t i = 0; i < s->model->plan.n_caches; i++) {
		const struct bt_cache *c = &s->cache[i];
		assert_int_equal(c->n_parts, parts);
		for (uint32_t j = 0; j < parts; j++) {
			const struct bt_cache_part *p = &c->part[j];
			if (most < p->k.size / p->n_head) most = p->k.size / p->n_head;
			if (most < p->v.size / p->n_head) most = p->v.size / p->n_head;
		}
	}
	return most;
}

/* A conversation that goes on in two ways: the second sequence gets a copy of the page that is part-filled. Logits of the last
 * prompt token and of all that follow: [1 + 2 * FORKED][n_vocab], the caller's. */
enum { FORKED = 4 };
static float *forked(struct baton_model *m, struct baton_session *s)
{
	size_t row = m->plan.n_vocab;
	float *out = malloc((1 + 2 * FORKED) * row * sizeof *out), *to = out;
	struct baton_input in[PROMPT];
	for (size_t i = 0; i < PROMPT; i++)
		in[i] = (struct baton_input){.token = prompt_token(0, i), .logits = i + 1 == PROMPT};
	eval(s, in, PROMPT);
	memcpy(to, baton_logits(s, PROMPT - 1), row * sizeof *out);
	assert_int_equal(baton_seq_copy(s, 0, 1, NULL), BATON_OK);
	for (size_t i = 0; i < FORKED; i++)
		for (uint32_t q = 0; q < 2; q++) {
			in[0] = (struct baton_input){.token = prompt_token(q, PROMPT + i), .seq = q, .logits = true};
			eval(s, in, 1);
			memcpy(to += row, baton_logits(s, 0), row * sizeof *out);
		}
	return out;
}

static void caches_have_the_bits_of_one_part(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof caches / sizeof *caches; i++) {
		const struct cut_cache *c = &caches[i];
		if (c->slow && emulated) continue;
		float *steps_of[2], *forks_of[2];
		uint64_t head = 0;
		size_t bytes = 0;
		for (uint32_t k = 0; k < 2; k++) {
			struct baton_model *m = open_fixture(c->name, false);
			struct baton_session_params p = params_for();
			p.type_k = c->k;
			p.type_v = c->v;
			p.n_seq = 2;
			faulty.max_alloc = head; /* of one head, that is: two parts */
			struct baton_session *s = open_session(m, &p);
			head = head_bytes(s, k + 1);
			forks_of[k] = forked(m, s);
			assert_int_equal(baton_seq_truncate(s, 0, 0, NULL), BATON_OK);
			assert_int_equal(baton_seq_truncate(s, 1, 0, NULL), BATON_OK);
			steps_of[k] = logits_of(m, s);
			bytes = m->plan.n_vocab * sizeof(float);
			baton_session_close(&s);
			baton_model_close(&m);
		}
		faulty.max_alloc = 0;
		if (memcmp(forks_of[0], forks_of[1], (1 + 2 * FORKED) * bytes))
			fail_msg("%s, %s, %s: other logits in parts, of two sequences", c->name, c->k, c->v);
		if (memcmp(steps_of[0], steps_of[1], N_STEPS * bytes))
			fail_msg("%s, %s, %s: other logits in parts", c->name, c->k, c->v);
		/* What was copied counts: the two ways are two. */
		assert_memory_not_equal((char *)forks_of[0] + (2 * FORKED - 1) * bytes,
		                        (char *)forks_of[0] + 2 * FORKED * bytes, bytes);
		for (int k = 0; k < 2; k++) free(steps_of[k]), free(forks_of[k]);
	}
}

struct told {
	uint64_t done, total;
};

static bool watch(void *user, enum baton_stage stage, uint64_t done, uint64_t total)
{
	struct told *t = user;
	if (stage != BATON_STAGE_WEIGHTS) return true;
	assert_true(done >= t->done && done <= total);
	*t = (struct told){done, total};
	return true;
}

/* A book for every part: what is told before is what is uploaded, to the byte. */
static void progress_counts_every_part(void **state)
{
	(void)state;
	struct told whole = {0}, parts = {0};
	for (int i = 0; i < 2; i++) {
		struct baton_model *m = open_fixture("qwen2.IQ4_XS", false);
		struct baton_session_params p = params_for();
		uint32_t most;
		p.progress = watch;
		p.user = i ? &parts : &whole;
		faulty.part = i ? 30000 : 0;
		struct baton_session *s = open_session(m, &p);
		assert_true(i ? cut(s, &most) > 4 : !cut(s, &most));
		baton_session_close(&s);
		baton_model_close(&m);
	}
	faulty.part = 0;
	assert_true(whole.total && whole.done == whole.total);
	assert_int_equal(parts.done, parts.total);
	assert_true(parts.total >= whole.total + 4 * 1024);
}

/* Parts are found by a second session, kept while one of them uses them, and go when others need the room. */
static void parts_are_shared_and_trimmed(void **state)
{
	(void)state;
	struct baton_session_params p = params_for(), exact = params_for();
	struct baton_session *a, *b;
	exact.exact = true;
	faulty.part = 60000;
	struct baton_model *m = open_fixture("llama-rope.Q8_0", false);
	a = open_session(m, &p);
	uint64_t once = bt_store_held(m->store, &bt_backend_faulty, 0), taken = faulty.weights, most;
	float *want = logits_of(m, a);
	b = open_session(m, &p);
	baton_session_close(&a);
	assert_int_equal(faulty.weights, taken);
	float *got = logits_of(m, b);
	assert_memory_equal(want, got, N_STEPS * m->plan.n_vocab * sizeof *want);
	faulty.part = 100000;
	baton_session_close(&b);
	baton_model_close(&m);
	free(got);
	/* Both at once, to see how much that takes. */
	m = open_fixture("llama-rope.Q8_0", false);
	a = open_session(m, &p);
	b = open_session(m, &exact);
	most = faulty.memory;
	assert_true(most > 2 * once);
	baton_session_close(&a);
	baton_session_close(&b);
	baton_model_close(&m);
	/* Now there is not enough. */
	m = open_fixture("llama-rope.Q8_0", false);
	a = open_session(m, &p);
	faulty.limit = most - 1;
	assert_int_equal(baton_session_open(m, &exact, &b, NULL), BATON_ERR_NOMEM);
	got = logits_of(m, a);
	assert_memory_equal(want, got, N_STEPS * m->plan.n_vocab * sizeof *want);
	baton_session_close(&a);
	b = open_session(m, &exact);
	uint32_t parts;
	assert_true(cut(b, &parts) > 4);
	baton_session_close(&b);
	/* And back: what was trimmed comes again, all of it. */
	a = open_session(m, &p);
	free(got);
	got = logits_of(m, a);
	assert_memory_equal(want, got, N_STEPS * m->plan.n_vocab * sizeof *want);
	baton_session_close(&a);
	baton_model_close(&m);
	assert_int_equal(faulty.memory, 0);
	faulty.limit = 0;
	faulty.part = 0;
	free(want);
	free(got);
}

/* A matrix of floats, of `rows` rows of 1024, each beginning with its number. */
static struct bt_tensor numbered(uint64_t rows)
{
	struct bt_tensor t = {.type = bt_type_get(BT_TYPE_F32), .n_dims = 2, .dim = {1024, rows, 1, 1}, .n_rows = rows};
	t.row_bytes = 4096;
	t.size = t.matrix_bytes = t.row_bytes * rows;
	float *data = calloc(rows, t.row_bytes);
	for (uint64_t i = 0; i < rows; i++) data[i * 1024] = (float)i;
	t.data = data;
	return t;
}

/* The emulator's memory is where the CPU sees it. */
static void has_its_rows(const struct bt_gpu_matrix *m)
{
	uint64_t row = 0;
	for (uint32_t i = 0; i < m->n_parts; i++) {
		const struct bt_gpu_part *part = &m->part[i];
		const float *at = (const float *)((const char *)part->block->mem.host +
		                                  (part->plane[BT_GPU_PLANE_Q] - part->block->mem.address));
		assert_int_equal(part->first, row);
		for (uint64_t j = 0; j < part->n; j++, row++)
			if (at[j * 1024] != (float)row) fail_msg("row %u of part %u", (unsigned)j, i);
	}
	assert_int_equal(row, m->tensor->n_rows);
}

/* Parts in two blocks, the second shared with another matrix that stays in use. */
static void parts_stand_in_several_blocks(void **state)
{
	(void)state;
	const uint64_t mib = 1 << 20;
	struct bt_tensor t = numbered(20001), other = numbered(64), idle = numbered(15000);
	struct bt_device *base;
	struct bt_device_params params = {0};
	const struct bt_gpu_matrix *m, *n;
	faulty.part = 30 * mib;
	faulty_arm(0, BATON_OK);
	assert_int_equal(bt_gpu_device_open(&bt_backend_faulty, &faulty_driver, 0, &params, &base, NULL), BATON_OK);
	struct bt_gpu_device *dev = (struct bt_gpu_device *)base;
	/* The first block can be had, the second can't: nothing of the matrix is left. */
	faulty.limit = faulty.memory + 100 * mib;
	assert_int_equal(bt_gpu_weights_get(dev, &t, false, &m, NULL), BATON_ERR_NOMEM);
	assert_int_equal(dev->n_matrices, 0);
	assert_int_equal(dev->n_blocks, 1);
	assert_int_equal(dev->block[0]->used, 0);
	assert_true(bt_gpu_weights_trim(dev));
	assert_int_equal(dev->n_blocks, 0);
	/* The second can be had when what nobody uses has gone, which the first is not. */
	faulty.limit = faulty.memory + 140 * mib;
	assert_int_equal(bt_gpu_weights_get(dev, &idle, false, &m, NULL), BATON_OK);
	bt_gpu_weights_put(m);
	assert_int_equal(bt_gpu_weights_get(dev, &t, false, &m, NULL), BATON_OK);
	assert_int_equal(dev->n_matrices, 1);
	faulty.limit = 0;
	assert_int_equal(bt_gpu_weights_get(dev, &other, false, &n, NULL), BATON_OK);
	assert_int_equal(m->n_parts, 3);
	assert_int_equal(dev->n_blocks, 2);
	assert_ptr_equal(m->part[0].block, m->part[1].block);
	assert_ptr_equal(m->part[2].block, n->part[0].block);
	has_its_rows(m);
	has_its_rows(n);
	assert_false(bt_gpu_weights_trim(dev));
	bt_gpu_weights_put(m);
	assert_int_equal(dev->n_matrices, 2);
	assert_true(bt_gpu_weights_trim(dev));
	/* A third of it alone is of no use. */
	assert_int_equal(dev->n_matrices, 1);
	assert_int_equal(dev->n_blocks, 1);
	has_its_rows(n);
	assert_int_equal(bt_gpu_weights_get(dev, &t, false, &m, NULL), BATON_OK);
	has_its_rows(m);
	bt_gpu_weights_put(m);
	bt_gpu_weights_put(n);
	assert_true(bt_gpu_weights_trim(dev));
	assert_int_equal(dev->n_blocks, 0);
	bt_gpu_device_close(base);
	faulty.part = 0;
	assert_int_equal(faulty.memory, 0);
	free((void *)t.data);
	free((void *)other.data);
	free((void *)idle.data);
}

/* Want of memory, or loss of the device, in the midst of a matrix. */
static void uploading_may_fail_between_parts(void **state)
{
	(void)state;
	struct bt_mem_stats before, after;
	bt_mem_get_stats(&before);
	struct baton_session_params p = params_for();
	struct baton_session *s = NULL;
	faulty.part = 30000;
	struct baton_model *m = open_fixture("qwen2.IQ4_XS", false);
	faulty_arm(0, BATON_OK);
	s = open_session(m, &p);
	unsigned total = faulty.calls;
	float *want = logits_of(m, s), *got;
	baton_session_close(&s);
	baton_model_close(&m);
	for (unsigned n = 4; n < total; n += 29) {
		enum baton_status with = n % 2 ? BATON_ERR_NOMEM : BATON_ERR_DEVICE;
		m = open_fixture("qwen2.IQ4_XS", false);
		faulty_arm(n, with);
		assert_int_equal(baton_session_open(m, &p, &s, NULL), with);
		faulty_arm(0, BATON_OK);
		if (n % 6 == 1) {
			s = open_session(m, &p);
			got = logits_of(m, s);
			assert_memory_equal(want, got, N_STEPS * m->plan.n_vocab * sizeof *want);
			baton_session_close(&s);
			free(got);
		}
		baton_model_close(&m);
		assert_int_equal(faulty.memory, 0);
		assert_int_equal(faulty.blocks, 0);
	}
	faulty.part = 0;
	free(want);
	bt_mem_get_stats(&after);
	assert_int_equal(before.blocks, after.blocks);
}

/* Want of memory, or loss of the device, at every allocation of two caches in two parts each. */
static void caches_may_fail_between_parts(void **state)
{
	(void)state;
	struct bt_mem_stats before, after;
	bt_mem_get_stats(&before);
	struct baton_session_params p = params_for();
	struct baton_session *s = NULL;
	struct baton_model *m = open_fixture("qwen2.Q4_K_M", false);
	s = open_session(m, &p);
	assert_int_equal(m->plan.n_caches, 2);
	faulty.max_alloc = head_bytes(s, 1);
	baton_session_close(&s);
	baton_model_close(&m);
	/* The device and its staging buffers come first. */
	for (unsigned n = 1; n <= 4 + 8; n++)
		for (int lost = 0; lost < 2; lost++) {
			enum baton_status with = lost ? BATON_ERR_DEVICE : BATON_ERR_NOMEM;
			m = open_fixture("qwen2.Q4_K_M", false);
			faulty_arm(n, with);
			assert_int_equal(baton_session_open(m, &p, &s, NULL), with);
			faulty_arm(0, BATON_OK);
			baton_model_close(&m);
			assert_int_equal(faulty.memory, 0);
			assert_int_equal(faulty.blocks, 0);
		}
	faulty.max_alloc = 0;
	bt_mem_get_stats(&after);
	assert_int_equal(before.blocks, after.blocks);
}

/* Not even 32 rows, or one expert. */
static void what_may_not_be_cut_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *name, *op;
		uint64_t part;
	} c[] = {{"llama-plain.F32", "matmul of layer 0", 8000},
	         {"qwen35moe.Q4_0", "matmul_experts of layer 0", 20000}};
	for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
		struct baton_error err = {0};
		struct baton_model *m = open_fixture(c[i].name, false);
		struct baton_session_params p = params_for();
		struct baton_session *s;
		faulty.part = c[i].part;
		assert_int_equal(baton_session_open(m, &p, &s, &err), BATON_ERR_UNSUPPORTED);
		if (!strstr(err.text, c[i].op) || !strstr(err.text, "an expert, or 32 rows of a matrix"))
			fail_msg("'%s'", err.text);
		baton_model_close(&m);
	}
	faulty.part = 0;
}

/* What a GPU computes of matrices of that shape, whatever the device: parts may take 4 GiB. */
static void supported(uint64_t k, uint64_t rows, uint64_t n, enum bt_op_kind kind, bool want)
{
	struct bt_plan plan = {0};
	struct bt_tensor t = {.type = bt_type_get(BT_TYPE_Q8_0), .dim = {k, rows, n, 1}, .n_rows = rows * n};
	struct bt_op op = {.kind = kind, .matmul = {.n_mats = 1, .mat = {{.w = &t}}}};
	if (bt_gpu_supports(0, &plan, &op) != want)
		fail_msg("%llu x %llu x %llu", (unsigned long long)k, (unsigned long long)rows, (unsigned long long)n);
}

static void large_matrices_are_computed(void **state)
{
	(void)state;
	supported(7168, 2048, 384, BT_OP_MATMUL_EXPERTS, true);
	supported(8192, 1 << 20, 1, BT_OP_LOGITS, true);
	supported(1 << 25, 64, 1, BT_OP_MATMUL, true); /* 32 rows: 1.1 GB */
	supported((uint64_t)1 << 27, 64, 1, BT_OP_MATMUL, false);
	supported(1 << 21, 4096, 2, BT_OP_MATMUL_EXPERTS, false); /* an expert of 9 GB */
	supported(1 << 21, 4096, 1, BT_OP_MATMUL_EXPERTS, false); /* one alone, which is no stack */
	supported(1 << 21, 4096, 1, BT_OP_MATMUL, true);
}

int main(int argc, char **argv)
{
	small_vulkan = bt_backend_null;
	small_driver = bt_vk_driver;
	small_driver.open = open_gpu;
	if (argc > 1) {
		const struct bt_backend *b;
		uint32_t index;
		struct baton_error err;
		small_vulkan = bt_backend_vulkan;
		small_vulkan.open = open_device;
		small_vulkan.describe = describe;
		device = argv[1];
		emulated = false;
		if (bt_backend_find(device, &b, &index, &err)) {
			printf("skipped: %s\n", err.text);
			return 77;
		}
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(logits_have_the_bits_of_one_part),
		cmocka_unit_test(caches_have_the_bits_of_one_part),
		cmocka_unit_test(progress_counts_every_part),
		cmocka_unit_test(what_may_not_be_cut_is_refused),
	};
	const struct CMUnitTest with_faults[] = {
		cmocka_unit_test(large_matrices_are_computed),   cmocka_unit_test(parts_stand_in_several_blocks),
		cmocka_unit_test(parts_are_shared_and_trimmed),  cmocka_unit_test(uploading_may_fail_between_parts),
		cmocka_unit_test(caches_may_fail_between_parts),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	return failed + (emulated ? cmocka_run_group_tests(with_faults, NULL, NULL) : 0);
}
