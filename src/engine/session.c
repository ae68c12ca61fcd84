#include "engine/session.h"
#include "base/limits.h"
#include "base/pool.h"

#include <stdio.h>
#include <string.h>

/* Rows of logits that a step is planned for at first; a call that asks for more makes the plan ready again. */
#define LOGITS_AT_FIRST 16u
#define CTX_DEFAULT     8192u

struct baton_session_params baton_session_params_default(void)
{
	return (struct baton_session_params){.n_batch = 2048,
	                                     .n_ubatch = 512,
	                                     .n_seq = 1,
	                                     .n_gpu_layers = -1,
	                                     .n_checkpoints = 4,
	                                     .gpu_timeout = 60,
	                                     .fit = true};
}

static uint32_t pages_for(uint32_t n_ctx, uint32_t n_seq)
{
	/* Every sequence may leave its last page part-filled. */
	return (n_ctx + BT_KV_PAGE - 1) / BT_KV_PAGE + (n_seq - 1);
}

uint64_t bt_model_kv_bytes(const struct bt_plan *plan, uint32_t n_ctx, uint32_t n_seq, const struct bt_type *type_k,
                           const struct bt_type *type_v)
{
	uint64_t per_page = 0;
	for (uint32_t i = 0; i < plan->n_caches; i++) {
		struct bt_cache_need need = {&plan->cache[i], type_k, type_v, 1};
		per_page += bt_cache_page_bytes(&need);
	}
	return per_page * pages_for(n_ctx, n_seq);
}

static uint32_t n_state_slots(const struct bt_plan *plan, uint32_t n_seq, uint32_t n_checkpoints)
{
	return plan->n_states ? 2 * n_seq + n_checkpoints : 0;
}

uint64_t bt_model_state_bytes(const struct bt_plan *plan, uint32_t n_seq, uint32_t n_checkpoints)
{
	uint64_t floats = 0;
	for (uint32_t i = 0; i < plan->n_states; i++) floats += plan->state[i].floats;
	return floats * sizeof(float) * n_state_slots(plan, n_seq, n_checkpoints);
}

static enum baton_status cache_type(const char *name, const char *dflt, const struct bt_type **out,
                                    struct baton_error *err)
{
	const struct bt_type *t = bt_type_by_name(name ? name : dflt);
	if (!t || (t->id != BT_TYPE_F16 && t->id != BT_TYPE_Q8_0 && t->id != BT_TYPE_F32))
		return bt_fail(err, BATON_ERR_ARG, "KV cache type '%s' is not supported; f16, q8_0 and f32 are", name);
	*out = t;
	return BATON_OK;
}

/* Fill in defaults and check the limits. */
static enum baton_status check_params(struct baton_session *s, struct baton_error *err)
{
	struct baton_session_params *p = &s->params;
	const struct bt_plan *plan = &s->model->plan;
	if (!p->n_ctx) p->n_ctx = plan->n_ctx_train < CTX_DEFAULT ? plan->n_ctx_train : CTX_DEFAULT;
	if (!p->n_batch || p->n_batch > BT_LIMIT_BATCH)
		return bt_fail(err, BATON_ERR_ARG, "a batch of %u tokens; 1 to %u are accepted", p->n_batch,
		               BT_LIMIT_BATCH);
	if (!p->n_ubatch || p->n_ubatch > p->n_batch) p->n_ubatch = p->n_batch;
	if (!p->n_seq || p->n_seq > BT_LIMIT_SEQS)
		return bt_fail(err, BATON_ERR_ARG, "%u sequences; 1 to %u are accepted", p->n_seq, BT_LIMIT_SEQS);
	if (p->n_ctx > BT_LIMIT_CONTEXT)
		return bt_fail(err, BATON_ERR_ARG, "a context of %u tokens; at most %u are accepted", p->n_ctx,
		               BT_LIMIT_CONTEXT);
	if (p->n_checkpoints > BT_LIMIT_SEQS)
		return bt_fail(err, BATON_ERR_ARG, "%u checkpoints; at most %u are accepted", p->n_checkpoints,
		               BT_LIMIT_SEQS);
	enum baton_status status = cache_type(p->type_k, p->exact ? "f32" : "f16", &s->type_k, err);
	if (!status) status = cache_type(p->type_v, p->exact ? "f32" : "f16", &s->type_v, err);
	if (status) return status;
	for (uint32_t i = 0; i < plan->n_caches; i++)
		if (plan->cache[i].d_k % s->type_k->block || plan->cache[i].d_v % s->type_v->block)
			return bt_fail(err, BATON_ERR_UNSUPPORTED,
			               "heads of %u values can't be kept as %s; use f16 for the KV cache",
			               plan->cache[i].d_k, s->type_k->name);
	return BATON_OK;
}

static uint32_t logits_at_first(const struct baton_session *s)
{
	return LOGITS_AT_FIRST < s->params.n_ubatch ? LOGITS_AT_FIRST : s->params.n_ubatch;
}

/* The device that has cache i. */
static struct bt_session_device *cache_device(struct baton_session *s, uint32_t i)
{
	return &s->devices.device[s->devices.place.cache[i]];
}

/* What cache i is to hold. */
static struct bt_cache_need cache_need(const struct baton_session *s, uint32_t i)
{
	return (struct bt_cache_need){.shape = &s->model->plan.cache[i],
	                              .type_k = s->type_k,
	                              .type_v = s->type_v,
	                              .n_pages = pages_for(s->params.n_ctx, s->params.n_seq)};
}

/* Place the plan and open what it is placed on. */
static enum baton_status open_devices(struct baton_session *s, struct baton_error *err)
{
	const struct baton_session_params *p = &s->params;
	const struct bt_plan *plan = &s->model->plan;
	struct bt_device_params dp = {.n_threads = p->n_threads,
	                              .cpu_level = p->cpu_level,
	                              .timeout = p->gpu_timeout,
	                              .cache_dir = p->cache_dir};
	struct bt_place_rules rules = {p->n_gpu_layers, p->n_cpu_moe, p->override_tensor, p->fit};
	if (!p->fit && p->n_gpu_layers < 0) rules.n_gpu_layers = (int32_t)plan->n_layer + 1;
	s->devices.exact = p->exact;
	s->devices.n_ctx = p->n_ctx;
	uint64_t *cache = bt_mem_array(BT_MEM_HOST, plan->n_caches + plan->n_states + 1u, sizeof *cache);
	if (!cache) return bt_fail_nomem(err, (plan->n_caches + plan->n_states) * sizeof *cache, "a session");
	uint64_t *state = cache + plan->n_caches;
	struct bt_place_need need = {.cache = cache,
	                             .state = state,
	                             .n_tokens = p->n_ubatch,
	                             .n_logits = logits_at_first(s)};
	for (uint32_t i = 0; i < plan->n_caches; i++) {
		struct bt_cache_need c = cache_need(s, i);
		cache[i] = c.n_pages * (uint64_t)bt_cache_page_bytes(&c);
	}
	uint32_t n_slots = n_state_slots(plan, p->n_seq, p->n_checkpoints);
	for (uint32_t i = 0; i < plan->n_states; i++)
		state[i] = (uint64_t)n_slots * plan->state[i].floats * sizeof(float);
	enum baton_status status = bt_devices_open(&s->devices, plan, s->model->store, p->device, &dp, &rules, &need,
	                                           err);
	bt_mem_free(cache);
	return status;
}

/* A head's keys are in one block of memory: not every driver gives any amount at once. */
static enum baton_status check_head(const struct baton_session *s, const struct bt_session_device *at,
                                    const struct bt_cache_need *need, struct baton_error *err)
{
	if (bt_cache_parts(need, at->info.max_alloc)) return BATON_OK;
	uint64_t bytes = bt_cache_head_bytes(need), pages = at->info.max_alloc / (bytes / need->n_pages);
	uint64_t fits = pages >= s->params.n_seq ? (pages - (s->params.n_seq - 1)) * BT_KV_PAGE : 0;
	return bt_fail(err, BATON_ERR_NOMEM,
	               "%s gives %.2f GB at once, and the keys of a head take %.2f GB with -c %u; -c %llu would fit",
	               at->info.name, (double)at->info.max_alloc * 1e-9, (double)bytes * 1e-9, s->params.n_ctx,
	               (unsigned long long)fits);
}

static enum baton_status open_cache(struct baton_session *s, struct baton_error *err)
{
	const struct bt_plan *plan = &s->model->plan;
	uint32_t n_pages = pages_for(s->params.n_ctx, s->params.n_seq);
	uint32_t cap = (s->params.n_ctx + BT_KV_PAGE - 1) / BT_KV_PAGE;
	s->cache = bt_mem_array(BT_MEM_HOST, plan->n_caches + 1u, sizeof *s->cache);
	if (!s->cache) return bt_fail_nomem(err, plan->n_caches * sizeof *s->cache, "the KV cache");
	enum baton_status status = bt_kv_open(&s->kv, n_pages, s->params.n_seq, cap, err);
	for (uint32_t i = 0; i < plan->n_caches && !status; i++) {
		struct bt_cache_need need = cache_need(s, i);
		struct bt_session_device *at = cache_device(s, i);
		status = check_head(s, at, &need, err);
		if (!status) status = bt_cache_open(at->backend, at->dev, at->info.max_alloc, &need, &s->cache[i], err);
	}
	return status;
}

static enum baton_status open_states(struct baton_session *s, struct baton_error *err)
{
	const struct bt_plan *plan = &s->model->plan;
	uint32_t n_slots = n_state_slots(plan, s->params.n_seq, s->params.n_checkpoints);
	size_t tokens = (size_t)s->params.n_seq * s->params.n_ctx;
	if (!n_slots) return BATON_OK;
	s->state = bt_mem_array(BT_MEM_HOST, plan->n_states, sizeof *s->state);
	s->history = bt_mem_pages(BT_MEM_HOST, tokens * sizeof *s->history);
	s->replay = bt_mem_array(BT_MEM_HOST, s->params.n_ubatch, sizeof *s->replay);
	if (!s->state || !s->history || !s->replay) return bt_fail_nomem(err, tokens * 4, "the sequences' tokens");
	enum baton_status status = bt_states_open(&s->states, n_slots, s->params.n_seq, err);
	for (uint32_t i = 0; i < plan->n_states && !status; i++) {
		struct bt_session_device *at = &s->devices.device[s->devices.place.state[i]];
		status = at->backend->alloc(at->dev, BT_MEM_STATE,
		                            (size_t)n_slots * plan->state[i].floats * sizeof(float), &s->state[i], err);
	}
	return status;
}

/* Make the plan ready for steps of n_ubatch tokens with at most n_logits rows of logits. */
static enum baton_status make_ready(struct baton_session *s, uint32_t n_logits, struct baton_error *err)
{
	struct bt_progress progress = {s->params.progress, s->params.user};
	struct bt_compile c = {.n_tokens = s->params.n_ubatch,
	                       .n_logits = n_logits,
	                       .exact = s->params.exact,
	                       .measure = s->params.measure,
	                       .progress = progress.fn ? &progress : NULL,
	                       .n_threads = s->params.n_threads,
	                       .type_k = s->type_k,
	                       .type_v = s->type_v,
	                       .cache = s->cache,
	                       .state = s->state};
	enum baton_status status = bt_devices_compile(&s->devices, &c, err);
	if (!status) s->n_logits_max = n_logits;
	return status;
}

static enum baton_status open_arrays(struct baton_session *s, struct baton_error *err)
{
	size_t n = s->params.n_ubatch, n_seq = s->params.n_seq;
	s->token = bt_mem_array(BT_MEM_HOST, n, sizeof *s->token);
	s->pos = bt_mem_array(BT_MEM_HOST, n, sizeof *s->pos);
	s->logit_row = bt_mem_array(BT_MEM_HOST, n, sizeof *s->logit_row);
	s->order = bt_mem_array(BT_MEM_HOST, n, sizeof *s->order);
	s->step_seq = bt_mem_array(BT_MEM_HOST, n_seq, sizeof *s->step_seq);
	s->seq_count = bt_mem_array(BT_MEM_HOST, n_seq, sizeof *s->seq_count);
	s->seq_start = bt_mem_array(BT_MEM_HOST, n_seq, sizeof *s->seq_start);
	s->seq_before = bt_mem_array(BT_MEM_HOST, n_seq, sizeof *s->seq_before);
	s->pending = bt_mem_array(BT_MEM_HOST, n_seq, sizeof *s->pending);
	s->pending_before = bt_mem_array(BT_MEM_HOST, n_seq, sizeof *s->pending_before);
	s->logit_index = bt_mem_array(BT_MEM_HOST, s->params.n_batch, sizeof *s->logit_index);
	bool ok = s->token && s->pos && s->logit_row && s->order && s->step_seq && s->seq_count && s->seq_start &&
	          s->seq_before && s->pending && s->pending_before && s->logit_index;
	return ok ? BATON_OK : bt_fail_nomem(err, n * 16 + s->params.n_batch * 4u, "a session");
}

static enum baton_status open_session(const struct baton_model *model, const struct baton_session_params *params,
                                      struct baton_session **out, struct baton_error *err)
{
	struct baton_session *s = *out = bt_mem_zalloc(BT_MEM_HOST, sizeof *s);
	if (!s) return bt_fail_nomem(err, sizeof *s, "a session");
	s->model = model;
	s->params = *params;
	enum baton_status status = check_params(s, err);
	if (!status) status = open_devices(s, err);
	if (!status) status = open_cache(s, err);
	if (!status) status = open_states(s, err);
	if (!status) status = open_arrays(s, err);
	if (!status) status = make_ready(s, logits_at_first(s), err);
	s->params.progress = NULL; /* the caller's until here */
	bt_devices_failed(&s->devices, status);
	return status;
}

enum baton_status baton_session_open(const struct baton_model *model, const struct baton_session_params *params,
                                     struct baton_session **out, struct baton_error *err)
{
	struct baton_session_params p = params ? *params : baton_session_params_default();
	struct baton_error first = {0};
	enum baton_status status = open_session(model, &p, out, &first);
	bool again = status && status != BATON_ERR_ARG && status != BATON_ERR_CANCELLED && *out &&
	             (*out)->devices.tried;
	if (status) baton_session_close(out);
	if (again) {
		/* A device that nobody asked for must not be in the way. */
		p.device = "none";
		struct baton_error second = {0};
		status = open_session(model, &p, out, &second);
		if (status) {
			baton_session_close(out);
			first = second;
		} else {
			(*out)->devices.chosen = true;
			snprintf((*out)->devices.why, sizeof(*out)->devices.why, "%.255s", first.text);
		}
	}
	if (status && err) *err = first;
	return status;
}

void baton_session_close(struct baton_session **session)
{
	struct baton_session *s = *session;
	if (!s) return;
	for (uint32_t i = 0; s->cache && i < s->model->plan.n_caches; i++) {
		struct bt_session_device *at = cache_device(s, i);
		bt_cache_close(at->backend, at->dev, &s->cache[i]);
	}
	for (uint32_t i = 0; s->state && i < s->model->plan.n_states; i++) {
		struct bt_session_device *at = &s->devices.device[s->devices.place.state[i]];
		at->backend->free(at->dev, &s->state[i]);
	}
	bt_mem_free(s->cache);
	bt_mem_free(s->state);
	bt_kv_close(&s->kv);
	bt_states_close(&s->states);
	if (s->history)
		bt_mem_free_pages(BT_MEM_HOST, s->history,
		                  (size_t)s->params.n_seq * s->params.n_ctx * sizeof *s->history);
	bt_mem_free(s->replay);
	bt_mem_free(s->pending);
	bt_mem_free(s->pending_before);
	bt_devices_close(&s->devices);
	bt_mem_free(s->token);
	bt_mem_free(s->pos);
	bt_mem_free(s->logit_row);
	bt_mem_free(s->order);
	bt_mem_free(s->step_seq);
	bt_mem_free(s->seq_count);
	bt_mem_free(s->seq_start);
	bt_mem_free(s->seq_before);
	bt_mem_free(s->logit_index);
	bt_mem_free(s->logits);
	bt_mem_free(s);
	*session = NULL;
}

void baton_session_get_info(const struct baton_session *s, struct baton_session_info *info)
{
	*info = (struct baton_session_info){
		.n_ctx = s->params.n_ctx,
		.n_batch = s->params.n_batch,
		.n_ubatch = s->params.n_ubatch,
		.n_seq = s->params.n_seq,
		.n_threads = s->params.n_threads ? s->params.n_threads : bt_pool_default_threads(),
		.n_gpu_layers = s->devices.n > 1 ? s->devices.place.n_gpu_layers : 0,
		.device = s->devices.names,
		.description = bt_devices_description(&s->devices),
		.n_cpu_moe = s->devices.place.n_cpu_moe,
		.fitted = s->devices.n > 1 && s->params.fit && s->params.n_gpu_layers < 0 &&
	                  (s->devices.place.n_gpu_layers <= s->model->plan.n_layer ||
	                   s->devices.place.n_cpu_moe > s->params.n_cpu_moe),
		.chosen = s->devices.chosen,
		.why_not = s->devices.why,
		.kv_bytes = bt_model_kv_bytes(&s->model->plan, s->params.n_ctx, s->params.n_seq, s->type_k, s->type_v),
		.state_bytes = bt_model_state_bytes(&s->model->plan, s->params.n_seq, s->params.n_checkpoints),
		.scratch_bytes = bt_devices_scratch(&s->devices) +
	                         s->cap_logits * s->model->plan.n_vocab * sizeof *s->logits,
	};
}

uint32_t baton_seq_length(const struct baton_session *s, uint32_t seq)
{
	return seq < s->params.n_seq ? s->kv.seq[seq].length + s->pending[seq] : 0;
}

static bool recurrent(const struct baton_session *s)
{
	return s->state != NULL;
}

static int32_t *history(const struct baton_session *s, uint32_t seq)
{
	return s->history + (size_t)seq * s->params.n_ctx;
}

static enum baton_status bad_seq(const struct baton_session *s, uint32_t seq, struct baton_error *err)
{
	return bt_fail(err, BATON_ERR_ARG, "no sequence %u: the session has %u", seq, s->params.n_seq);
}

enum baton_status baton_seq_truncate(struct baton_session *s, uint32_t seq, uint32_t n, struct baton_error *err)
{
	if (seq >= s->params.n_seq) return bad_seq(s, seq, err);
	uint32_t length = baton_seq_length(s, seq), computed = s->kv.seq[seq].length;
	if (n > length) return bt_fail(err, BATON_ERR_ARG, "sequence %u has %u tokens, not %u", seq, length, n);
	if (recurrent(s) && n < computed) computed = bt_states_truncate(&s->states, seq, n);
	else if (n < computed) computed = n;
	bt_kv_truncate(&s->kv, seq, computed);
	s->pending[seq] = n - computed;
	return BATON_OK;
}

enum baton_status baton_seq_copy(struct baton_session *s, uint32_t src, uint32_t dst, struct baton_error *err)
{
	if (src >= s->params.n_seq) return bad_seq(s, src, err);
	if (dst >= s->params.n_seq) return bad_seq(s, dst, err);
	bt_kv_share(&s->kv, src, dst);
	if (!recurrent(s) || src == dst) return BATON_OK;
	bt_states_share(&s->states, src, dst);
	s->pending[dst] = s->pending[src];
	memcpy(history(s, dst), history(s, src), baton_seq_length(s, src) * sizeof *s->history);
	return BATON_OK;
}

const float *baton_logits(const struct baton_session *s, size_t i)
{
	if (i >= s->n_inputs || s->logit_index[i] == UINT32_MAX) return NULL;
	return s->logits + (size_t)s->logit_index[i] * s->model->plan.n_vocab;
}

/* bt_kv_copy_fn */
static enum baton_status copy_page(void *user, uint32_t dst, uint32_t src, struct baton_error *err)
{
	struct baton_session *s = user;
	enum baton_status status = BATON_OK;
	for (uint32_t i = 0; i < s->model->plan.n_caches && !status; i++) {
		struct bt_session_device *at = cache_device(s, i);
		status = bt_cache_copy_page(at->backend, at->dev, &s->cache[i], dst, src, err);
	}
	return status;
}

/* Check the whole call before anything changes; count tokens per sequence and rows of logits. */
static enum baton_status check_inputs(struct baton_session *s, const struct baton_input *in, size_t n, size_t *n_logits,
                                      struct baton_error *err)
{
	uint32_t n_vocab = s->model->plan.n_vocab;
	if (n > s->params.n_batch)
		return bt_fail(err, BATON_ERR_LIMIT, "a batch of %zu tokens; the session takes %u (see -b)", n,
		               s->params.n_batch);
	memset(s->seq_count, 0, s->params.n_seq * sizeof *s->seq_count);
	*n_logits = 0;
	for (size_t i = 0; i < n; i++) {
		if (in[i].seq >= s->params.n_seq) return bad_seq(s, in[i].seq, err);
		if (in[i].token < 0 || (uint32_t)in[i].token >= n_vocab)
			return bt_fail(err, BATON_ERR_ARG, "token %d does not exist; the model has 0 to %u",
			               in[i].token, n_vocab - 1);
		s->seq_count[in[i].seq]++;
		*n_logits += in[i].logits;
	}
	uint32_t need = 0;
	for (uint32_t q = 0; q < s->params.n_seq; q++) {
		uint64_t length = (uint64_t)baton_seq_length(s, q) + s->seq_count[q];
		if (length > s->params.n_ctx)
			return bt_fail(err, BATON_ERR_LIMIT,
			               "the context is full: %llu tokens are needed, the session holds %u (see -c)",
			               (unsigned long long)length, s->params.n_ctx);
		if (s->seq_count[q]) need += bt_kv_pages_needed(&s->kv, q, s->pending[q] + s->seq_count[q]);
	}
	if (need > s->kv.n_free)
		return bt_fail(err, BATON_ERR_LIMIT,
		               "the context is full: the KV cache of %u tokens has %u pages of %u free, %u are "
		               "needed (see -c)",
		               s->params.n_ctx, s->kv.n_free, BT_KV_PAGE, need);
	return BATON_OK;
}

static enum baton_status grow_logits(struct baton_session *s, size_t n, struct baton_error *err)
{
	if (n <= s->cap_logits) return BATON_OK;
	size_t bytes;
	float *p = NULL;
	if (bt_mul_size(n, s->model->plan.n_vocab * sizeof *p, &bytes)) p = bt_mem_alloc(BT_MEM_SCRATCH, bytes);
	if (!p) return bt_fail_nomem(err, bytes, "logits; ask for fewer tokens' logits in a call");
	bt_mem_free(s->logits);
	s->logits = p;
	s->cap_logits = n;
	return BATON_OK;
}

/* Give `count` rows from `row` on to sequence q: room in the cache, positions, the slots of its state. */
static enum baton_status place_seq(struct baton_session *s, uint32_t q, uint32_t row, uint32_t count,
                                   struct bt_step_seq *seq, struct baton_error *err)
{
	*seq = (struct bt_step_seq){.row0 = row, .n = count, .pos0 = s->kv.seq[q].length, .pages = s->kv.seq[q].page};
	enum baton_status status = bt_kv_append(&s->kv, q, count, copy_page, s, err);
	if (status) return status;
	for (uint32_t i = 0; i < count; i++) s->pos[row + i] = (int32_t)(seq->pos0 + i);
	if (!recurrent(s)) return BATON_OK;
	seq->state_in = bt_states_slot(&s->states, q);
	seq->state_out = bt_states_advance(&s->states, q, seq->pos0 + count, count > 1);
	return BATON_OK;
}

/* Compute inputs first .. first + n - 1 as one step: rows of a sequence are put together, in order. */
static enum baton_status run_step(struct baton_session *s, const struct baton_input *in, size_t first, uint32_t n,
                                  size_t *n_done, struct baton_error *err)
{
	uint32_t n_seqs = 0, row = 0;
	if (recurrent(s)) bt_states_step(&s->states);
	memset(s->seq_count, 0, s->params.n_seq * sizeof *s->seq_count);
	for (uint32_t i = 0; i < n; i++) s->seq_count[in[first + i].seq]++;
	for (uint32_t q = 0; q < s->params.n_seq; q++) {
		uint32_t count = s->seq_count[q];
		if (!count) continue;
		s->seq_start[q] = row;
		enum baton_status status = place_seq(s, q, row, count, &s->step_seq[n_seqs++], err);
		if (status) return status;
		row += count;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t q = in[first + i].seq, at = s->seq_start[q]++;
		s->token[at] = in[first + i].token;
		s->order[at] = (uint32_t)(first + i);
		if (recurrent(s)) history(s, q)[s->pos[at]] = s->token[at];
	}
	struct bt_step step = {.n_tokens = n,
	                       .n_seqs = n_seqs,
	                       .token = s->token,
	                       .pos = s->pos,
	                       .seq = s->step_seq,
	                       .logit_row = s->logit_row,
	                       .logits = s->logits + *n_done * s->model->plan.n_vocab};
	for (uint32_t r = 0; r < n; r++) {
		if (!in[s->order[r]].logits) continue;
		s->logit_row[step.n_logits] = r;
		s->logit_index[s->order[r]] = (uint32_t)(*n_done + step.n_logits++);
	}
	*n_done += step.n_logits;
	if (step.n_logits > s->n_logits_max) {
		enum baton_status status = make_ready(s, s->params.n_ubatch, err);
		if (status) return status;
	}
	return bt_devices_run(&s->devices, &step, err);
}

/* All inputs in steps of n_ubatch. */
static enum baton_status run_steps(struct baton_session *s, const struct baton_input *in, size_t n, size_t *done,
                                   struct baton_error *err)
{
	enum baton_status status = BATON_OK;
	for (size_t first = 0; first < n && !status;) {
		uint32_t count = n - first < s->params.n_ubatch ? (uint32_t)(n - first) : s->params.n_ubatch;
		if (s->params.cancel && s->params.cancel(s->params.user))
			return bt_fail(err, BATON_ERR_CANCELLED, "cancelled");
		status = run_step(s, in, first, count, done, err);
		first += count;
	}
	return status;
}

/* Compute again what lies between the sequence's state and its end. */
static enum baton_status catch_up(struct baton_session *s, uint32_t q, struct baton_error *err)
{
	enum baton_status status = BATON_OK;
	while (s->pending[q] && !status) {
		uint32_t n = s->pending[q] < s->params.n_ubatch ? s->pending[q] : s->params.n_ubatch;
		const int32_t *token = history(s, q) + s->kv.seq[q].length;
		for (uint32_t i = 0; i < n; i++) s->replay[i] = (struct baton_input){.token = token[i], .seq = q};
		size_t done = 0;
		status = run_steps(s, s->replay, n, &done, err);
		s->pending[q] -= n;
	}
	return status;
}

/* After a failure: put every sequence back to where it was. */
static void undo(struct baton_session *s)
{
	for (uint32_t q = 0; q < s->params.n_seq; q++) {
		bt_kv_truncate(&s->kv, q, s->seq_before[q]);
		s->pending[q] = s->pending_before[q];
		if (recurrent(s)) bt_states_undo(&s->states, q);
	}
}

enum baton_status baton_eval(struct baton_session *s, const struct baton_input *in, size_t n, struct baton_error *err)
{
	size_t n_logits = 0, done = 0;
	s->n_inputs = 0;
	if (s->params.measure) return bt_fail(err, BATON_ERR_ARG, "the session was opened only for its sizes");
	enum baton_status status = check_inputs(s, in, n, &n_logits, err);
	if (!status) status = grow_logits(s, n_logits, err);
	if (status) return status;
	for (size_t i = 0; i < n; i++) s->logit_index[i] = UINT32_MAX;
	for (uint32_t q = 0; q < s->params.n_seq; q++) {
		s->seq_before[q] = s->kv.seq[q].length;
		s->pending_before[q] = s->pending[q];
		if (recurrent(s)) bt_states_begin(&s->states, q);
	}
	for (size_t i = 0; i < n && !status; i++)
		if (s->pending[in[i].seq]) status = catch_up(s, in[i].seq, err);
	if (!status) status = run_steps(s, in, n, &done, err);
	if (status) {
		bt_devices_failed(&s->devices, status);
		undo(s);
		return status;
	}
	for (uint32_t q = 0; recurrent(s) && q < s->params.n_seq; q++) bt_states_commit(&s->states, q);
	s->n_inputs = n;
	return BATON_OK;
}
