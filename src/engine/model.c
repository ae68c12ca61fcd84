#include "engine/model.h"
#include "base/limits.h"

#include <stdio.h>
#include <string.h>

static void copy_str(char *out, size_t size, struct bt_str s)
{
	size_t n = s.data ? (s.len < size - 1 ? s.len : size - 1) : 0;
	if (n) memcpy(out, s.data, n);
	out[n] = 0;
}

/* The names that quantisers give whole files (general.file_type; llama.cpp's enum llama_ftype). */
static const char *file_type_name(uint32_t ftype)
{
	static const char *const name[] = {
		[0] = "all F32",
		[1] = "F16",
		[2] = "Q4_0",
		[3] = "Q4_1",
		[7] = "Q8_0",
		[8] = "Q5_0",
		[9] = "Q5_1",
		[10] = "Q2_K - Medium",
		[11] = "Q3_K - Small",
		[12] = "Q3_K - Medium",
		[13] = "Q3_K - Large",
		[14] = "Q4_K - Small",
		[15] = "Q4_K - Medium",
		[16] = "Q5_K - Small",
		[17] = "Q5_K - Medium",
		[18] = "Q6_K",
		[19] = "IQ2_XXS - 2.0625 bpw",
		[20] = "IQ2_XS - 2.3125 bpw",
		[21] = "Q2_K - Small",
		[22] = "IQ3_XS - 3.3 bpw",
		[23] = "IQ3_XXS - 3.0625 bpw",
		[24] = "IQ1_S - 1.5625 bpw",
		[25] = "IQ4_NL - 4.5 bpw",
		[26] = "IQ3_S - 3.4375 bpw",
		[27] = "IQ3_S mix - 3.66 bpw",
		[28] = "IQ2_S - 2.5 bpw",
		[29] = "IQ2_M - 2.7 bpw",
		[30] = "IQ4_XS - 4.25 bpw",
		[31] = "IQ1_M - 1.75 bpw",
		[32] = "BF16",
		[36] = "TQ1_0 - 1.69 bpw ternary",
		[37] = "TQ2_0 - 2.06 bpw ternary",
		[38] = "MXFP4 MoE",
	};
	return ftype < sizeof name / sizeof *name && name[ftype] ? name[ftype] : NULL;
}

/* The type of most weights, for files that do not say. */
static const char *commonest_type(const struct bt_gguf *g)
{
	uint64_t bytes[BT_TYPE_COUNT] = {0};
	const struct bt_type *best = NULL;
	for (size_t i = 0; i < bt_gguf_n_tensors(g); i++) {
		const struct bt_tensor *t = bt_gguf_tensor_at(g, i);
		bytes[t->type->id] += t->size;
		if (!best || bytes[t->type->id] > bytes[best->id]) best = t->type;
	}
	return best ? best->name : "?";
}

static void describe(struct baton_model *m)
{
	struct bt_str s = {NULL, 0};
	bt_gguf_get_str(m->gguf, "general.architecture", &s, NULL, NULL);
	copy_str(m->architecture, sizeof m->architecture, s);
	s.data = NULL;
	bt_gguf_get_str(m->gguf, "general.name", &s, NULL, NULL);
	copy_str(m->name, sizeof m->name, s);
	for (size_t i = 0; i < bt_gguf_n_tensors(m->gguf); i++) {
		const struct bt_tensor *t = bt_gguf_tensor_at(m->gguf, i);
		m->n_params += t->dim[0] * t->n_rows;
		m->size += t->size;
	}
	uint32_t ftype;
	bool found;
	const char *type = NULL;
	if (!bt_gguf_get_u32(m->gguf, "general.file_type", 0, &ftype, &found, NULL) && found)
		type = file_type_name(ftype);
	if (!type) type = commonest_type(m->gguf);
	/* llama.cpp counts parameters in the same words: 135M, 1.5B, 30B.A3B comes with the experts. */
	char count[32];
	double n = (double)m->n_params;
	if (n >= 1e10) snprintf(count, sizeof count, "%.0fB", n / 1e9);
	else if (n >= 1e9) snprintf(count, sizeof count, "%.1fB", n / 1e9);
	else if (n >= 1e6) snprintf(count, sizeof count, "%.0fM", n / 1e6);
	else snprintf(count, sizeof count, "%.0fK", n / 1e3);
	snprintf(m->type, sizeof m->type, "%s %s %s", m->architecture, count, type);
}

/* The embedding's rows are the ids that may be computed: the tokenizer must not give others. */
static enum baton_status check_vocab(const struct baton_model *m, struct baton_error *err)
{
	uint32_t n = m->tokenizer ? bt_tokenizer_n_vocab(m->tokenizer) : 0;
	if (n > m->plan.n_vocab)
		return bt_fail(err, BATON_ERR_FORMAT, "the tokenizer has %u tokens, the embedding only %u rows", n,
		               m->plan.n_vocab);
	return BATON_OK;
}

enum baton_status baton_model_open(const char *path, const struct baton_model_params *params, struct baton_model **out,
                                   struct baton_error *err)
{
	*out = NULL;
	struct baton_model *m = bt_mem_zalloc(BT_MEM_HOST, sizeof *m);
	if (!m) return bt_fail_nomem(err, sizeof *m, "a model");
	bt_plan_init(&m->plan);
	struct bt_gguf_params gp = {0};
	if (params)
		gp = (struct bt_gguf_params){.read = params->no_mmap,
		                             .progress = params->progress,
		                             .user = params->user};
	enum baton_status status = bt_gguf_open(path, &gp, &m->gguf, err);
	if (status) goto out; /* its sentence names the file, those below do not */
	status = bt_arch_build(m->gguf, &m->plan, &m->hp, err);
	if (!status) status = bt_tokenizer_open(m->gguf, &m->tokenizer, err);
	if (!status) status = check_vocab(m, err);
	if (!status) status = bt_store_open(&m->store, err);
	if (status) bt_fail_prefix(err, path);
	else describe(m);
out:
	if (status) baton_model_close(&m);
	*out = m;
	return status;
}

void baton_model_close(struct baton_model **model)
{
	struct baton_model *m = *model;
	if (!m) return;
	bt_store_close(&m->store);
	bt_plan_free(&m->plan);
	bt_tokenizer_close(&m->tokenizer);
	bt_gguf_close(&m->gguf);
	bt_mem_free(m);
	*model = NULL;
}

void baton_model_get_info(const struct baton_model *m, struct baton_model_info *info)
{
	*info = (struct baton_model_info){
		.architecture = m->architecture,
		.name = m->name,
		.type = m->type,
		.n_params = m->n_params,
		.size = m->size,
		.n_vocab = m->plan.n_vocab,
		.n_ctx_train = m->plan.n_ctx_train,
		.n_embd = m->plan.n_embd,
		.n_layer = m->plan.n_layer,
	};
}

void baton_free(void *p)
{
	bt_mem_free(p);
}

static enum baton_status need_tokenizer(const struct baton_model *m, struct baton_error *err)
{
	if (m->tokenizer) return BATON_OK;
	return bt_fail(err, BATON_ERR_UNSUPPORTED, "%s: the file has no tokenizer; give token ids instead of text",
	               bt_gguf_path(m->gguf));
}

enum baton_status baton_tokenize(const struct baton_model *m, const char *text, size_t len, unsigned flags,
                                 int32_t **ids, size_t *n, struct baton_error *err)
{
	_Static_assert((int)BATON_TOKENIZE_BOS == (int)BT_TOKENIZE_BOS, "same flags");
	_Static_assert((int)BATON_TOKENIZE_SPECIAL == (int)BT_TOKENIZE_SPECIAL, "same flags");
	struct bt_tokens tokens = {0};
	*ids = NULL;
	*n = 0;
	enum baton_status status = need_tokenizer(m, err);
	if (!status) status = bt_tokenize(m->tokenizer, text, len, flags, &tokens, err);
	if (status) {
		bt_tokens_free(&tokens);
		return status;
	}
	*ids = tokens.ids;
	*n = tokens.n;
	return BATON_OK;
}

size_t baton_token_piece(const struct baton_model *m, int32_t id, bool special, char *piece, size_t cap)
{
	if (!m->tokenizer || id < 0 || (uint32_t)id >= bt_tokenizer_n_vocab(m->tokenizer)) return 0;
	struct bt_buf buf;
	bt_buf_init(&buf, BT_MEM_TEXT, BT_LIMIT_TOKEN_BYTES);
	bt_token_piece(m->tokenizer, id, special, &buf);
	size_t n = buf.status ? 0 : buf.len;
	if (n && n <= cap) memcpy(piece, buf.data, n);
	bt_buf_free(&buf);
	return n;
}

bool baton_token_is_end(const struct baton_model *m, int32_t id)
{
	return m->tokenizer && id >= 0 && (uint32_t)id < bt_tokenizer_n_vocab(m->tokenizer) &&
	       bt_tokenizer_is_end(m->tokenizer, id);
}
