/* baton.h: the public interface of libbaton.
 *
 * A *model* is an opened GGUF file: immutable, may be shared by threads and by any number of sessions. A *session* is a
 * conversation machine over one model: sequences, their KV cache and recurrent state, the last logits; it is used by
 * one thread at a time. Nothing in the library exits, aborts or prints: every call that can fail returns a status, and
 * the sentence for people stands in the struct baton_error that the caller passed in (may be NULL).
 */
#ifndef BATON_H
#define BATON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(BATON_BUILD_SHARED)
#define BATON_API __attribute__((visibility("default")))
#else
#define BATON_API
#endif

/* What went wrong, for machines. Values are stable. */
enum baton_status {
	BATON_OK = 0,
	BATON_ERR_ARG = 1,         /* the caller's mistake: a bad argument, an unknown name */
	BATON_ERR_NOMEM = 2,       /* host or device memory ran out */
	BATON_ERR_IO = 3,          /* a file or the network: missing, unreadable, disk full */
	BATON_ERR_FORMAT = 4,      /* a file or a text is not what it claims to be */
	BATON_ERR_UNSUPPORTED = 5, /* sound, but this build has no code for it */
	BATON_ERR_LIMIT = 6,       /* a limit of src/base/limits.h or of the session (context) is exceeded */
	BATON_ERR_DEVICE = 7,      /* a device failed or is lost */
	BATON_ERR_CANCELLED = 8,   /* a callback or a signal asked to stop */
	BATON_ERR_TEMPLATE = 9,    /* a chat template raised an error or is not valid */
};

/* What went wrong, for people: one line, "what failed, on what, why, what to do". Owned by the caller. */
struct baton_error {
	enum baton_status status;
	char text[512];
};

/* "out of memory" and the like: a static string, never NULL. */
BATON_API const char *baton_status_text(enum baton_status status);

/* "0.1.0": static. */
BATON_API const char *baton_version(void);

/* ---- Sampling: how the next token is chosen from the logits. Names, order and defaults are llama.cpp's. ---- */

struct baton_logit_bias {
	int32_t token;
	float bias; /* added to the token's logit; -INFINITY forbids the token */
};

struct baton_sampler_params {
	uint64_t seed; /* the n-th token after the same tokens is the same for the same seed */

	/* Penalties on tokens among the last penalty_last_n (-1: the whole context, 0: off). */
	int32_t penalty_last_n;  /* 64 */
	float penalty_repeat;    /* 1: off; positive logits are divided by it, negative ones multiplied */
	float penalty_frequency; /* 0: off; subtracted once for each time the token occurred */
	float penalty_presence;  /* 0: off; subtracted once when the token occurred */

	/* DRY: multiplier * base ^ (length - allowed_length) is subtracted from the logit of the token that would continue a
	 * sequence of `length` tokens that has occurred before. */
	float dry_multiplier;            /* 0: off */
	float dry_base;                  /* 1.75 */
	int32_t dry_allowed_length;      /* 2 */
	int32_t dry_penalty_last_n;      /* -1: the whole context, 0: off */
	const char *const *dry_breakers; /* texts that end a sequence; NULL: newline, colon, quote, asterisk */
	size_t n_dry_breakers;

	/* Cutting the tail off, in this order. */
	float top_n_sigma;     /* <= 0: off; keep logits within so many standard deviations of the largest */
	int32_t top_k;         /* 40; 0: off */
	float typical_p;       /* 1: off */
	float top_p;           /* 0.95; 1: off */
	float min_p;           /* 0.05; 0: off */
	float xtc_probability; /* 0: off */
	float xtc_threshold;   /* 0.1; above 0.5: off */

	float temp;              /* 0.8; 0: always the likeliest token */
	float dynatemp_range;    /* 0: off; the temperature moves within temp +- range with the entropy */
	float dynatemp_exponent; /* 1 */

	const struct baton_logit_bias *logit_bias; /* [n_logit_bias] */
	size_t n_logit_bias;
};

/* The defaults above, seed 0. */
BATON_API void baton_sampler_params_init(struct baton_sampler_params *params);
/* Free text that a call returned. NULL is fine. */
BATON_API void baton_free(void *p);

/* ---- Models ---- */

struct baton_model;

/* Called while a file is read into memory; return false to cancel. */
typedef bool (*baton_progress_fn)(void *user, uint64_t done, uint64_t total);

struct baton_model_params {
	bool no_mmap;               /* read the file into memory instead of mapping it */
	baton_progress_fn progress; /* may be NULL */
	void *user;
};

/* Open a GGUF file (of a split model: any of its files). params may be NULL. On success *out is the caller's, to be
 * closed after all its sessions. */
BATON_API enum baton_status baton_model_open(const char *path, const struct baton_model_params *params,
                                             struct baton_model **out, struct baton_error *err);
/* Closes and clears *model. */
BATON_API void baton_model_close(struct baton_model **model);

struct baton_model_info {
	const char *architecture; /* "llama"; these strings live as long as the model */
	const char *name;         /* general.name or "" */
	const char *type;         /* "llama 135M Q4_1", as llama.cpp's tools print it */
	uint64_t n_params;        /* weights in all tensors */
	uint64_t size;            /* bytes of all tensors */
	uint32_t n_vocab, n_ctx_train, n_embd, n_layer;
};
BATON_API void baton_model_get_info(const struct baton_model *model, struct baton_model_info *info);

/* ---- Text ---- */

enum {
	BATON_TOKENIZE_BOS = 1,     /* add the begin token (and end) where the vocabulary wants one */
	BATON_TOKENIZE_SPECIAL = 2, /* control tokens written in the text become one id */
};

/* The ids of text[len] -> *ids (malloc'd by the library: baton_free), *n of them. A file without a tokenizer gives
 * BATON_ERR_UNSUPPORTED. */
BATON_API enum baton_status baton_tokenize(const struct baton_model *model, const char *text, size_t len,
                                           unsigned flags, int32_t **ids, size_t *n, struct baton_error *err);
/* The bytes that a token stands for -> piece[cap]; returns how many it has (which may exceed cap; then nothing is
 * written). special: control tokens are spelled out instead of being nothing. Not NUL-terminated. */
BATON_API size_t baton_token_piece(const struct baton_model *model, int32_t id, bool special, char *piece, size_t cap);
/* Does this token end an answer? */
BATON_API bool baton_token_is_end(const struct baton_model *model, int32_t id);

/* ---- Sessions ---- */

struct baton_session;

/* What takes its time when a session is opened on a GPU. */
enum baton_stage {
	BATON_STAGE_KERNELS = 0, /* compiling kernels: their number */
	BATON_STAGE_WEIGHTS = 1, /* bringing weights to the device: bytes there */
};

struct baton_session_params {
	uint32_t n_ctx;     /* tokens that the KV cache holds, over all sequences; 0: what the model was trained for, at
	                          most 8192 */
	uint32_t n_batch;   /* most tokens in one call of baton_eval (default 2048) */
	uint32_t n_ubatch;  /* most tokens computed at once (default 512) */
	uint32_t n_seq;     /* sequences (default 1) */
	uint32_t n_threads; /* 0: the machine's cores */
	/* Recurrent models: places behind prompts to which sequences can return without computing from the beginning (default
	 * 4, over all sequences). Each takes as much memory as the state of a sequence. */
	uint32_t n_checkpoints;
	const char *type_k; /* KV cache: "f16" (default), "q8_0", "f32" */
	const char *type_v;
	/* Where it computes. device: NULL for the best GPU if it can do all that is asked of it and has the memory, else the
	 * CPU; or a list "Vulkan0,Vulkan1" whose devices share the layers; the CPU takes part with what is left to it ("CPU"
	 * or "none": with everything). n_gpu_layers of the layers, counted
	 * from the last, go to them; more than there are: the output too; -1 (default): as many as their memory holds. The
	 * experts of the first n_cpu_moe layers stay on the CPU. override_tensor ("REGEX=DEVICE", several separated by
	 * commas; NULL: none) places the weights whose names it matches, whatever the numbers say; the first that matches
	 * counts. The lookup in the embedding stays on the CPU unless a pattern says otherwise. Logits are the same as
	 * without a split where the devices compute alike. */
	const char *device;
	int32_t n_gpu_layers;
	uint32_t n_cpu_moe;
	const char *override_tensor;
	/* true (default): what is left open (n_gpu_layers -1) is chosen to fit the devices' free memory (experts of n_cpu_moe layers
	 * stay on the CPU before whole layers do), and what is asked for and does not fit is refused, with what would. false: -1
	 * means all layers, and nothing is checked. */
	bool fit;
	const char *cpu_level; /* highest CPU level used: "c", "avx2", "avx512", "avx512vnni"; NULL: the machine's */
	bool exact;            /* f32 activations and KV cache: for comparing, not for speed */
	/* Seconds after which a GPU that does not answer counts as lost (BATON_ERR_DEVICE); default 60; 0: never. */
	double gpu_timeout;
	/* Folder where devices keep compiled kernels from run to run; made when needed; NULL: nothing is kept. */
	const char *cache_dir;
	/* Open it only to ask for its sizes (baton_session_get_info): no weights go to devices, and baton_eval refuses. */
	bool measure;
	/* Called while baton_session_open makes devices ready, with what is counted; false cancels. */
	bool (*progress)(void *user, enum baton_stage stage, uint64_t done, uint64_t total);
	/* Asked between micro-batches; true cancels the call. */
	bool (*cancel)(void *user);
	void *user;
};
BATON_API struct baton_session_params baton_session_params_default(void);

/* The model must outlive the session. */
BATON_API enum baton_status baton_session_open(const struct baton_model *model,
                                               const struct baton_session_params *params, struct baton_session **out,
                                               struct baton_error *err);
BATON_API void baton_session_close(struct baton_session **session);

/* One token to compute: appended to sequence seq. */
struct baton_input {
	int32_t token;
	uint32_t seq;
	bool logits; /* its logits are wanted */
};
/* Append n tokens to their sequences, in order, and compute. Results do not depend on how tokens are spread over calls,
 * on the other sequences in a call, or on the number of threads. On failure no sequence has changed. */
BATON_API enum baton_status baton_eval(struct baton_session *session, const struct baton_input *input, size_t n,
                                       struct baton_error *err);
/* Logits [n_vocab] after input i of the last baton_eval, NULL when they were not asked for. Valid until the next call. */
BATON_API const float *baton_logits(const struct baton_session *session, size_t i);

BATON_API uint32_t baton_seq_length(const struct baton_session *session, uint32_t seq);
/* Forget everything behind the first n tokens. The state of a recurrent model can't be rewound: what lies between the last
 * checkpoint before n and n is computed again by the next baton_eval of the sequence. */
BATON_API enum baton_status baton_seq_truncate(struct baton_session *session, uint32_t seq, uint32_t n,
                                               struct baton_error *err);
/* dst becomes a copy of src; full pages of the cache are shared, not copied. */
BATON_API enum baton_status baton_seq_copy(struct baton_session *session, uint32_t src, uint32_t dst,
                                           struct baton_error *err);

struct baton_session_info {
	uint32_t n_ctx, n_batch, n_ubatch, n_seq, n_threads;
	uint32_t n_gpu_layers;   /* layers that went to other devices than the CPU, the output counted as one */
	uint32_t n_cpu_moe;      /* layers whose experts stayed on the CPU */
	bool fitted;             /* they were chosen so because there was no room for all */
	const char *device;      /* "CPU"; "Vulkan0, CPU" where they share the layers; lives as long as the session */
	const char *description; /* of the first of them: "AMD EPYC (avx512vnni)"; likewise */
	bool chosen;             /* params.device was NULL: the device was chosen by the library */
	const char *why_not;     /* then: why the GPU that there is does not compute, or ""; likewise */
	uint64_t state_bytes;    /* reserved for recurrent state, likewise */
	uint64_t kv_bytes;       /* reserved for the KV cache; touched only as it fills */
	uint64_t scratch_bytes;  /* working memory */
};
BATON_API void baton_session_get_info(const struct baton_session *session, struct baton_session_info *info);

#ifdef __cplusplus
}
#endif
#endif
