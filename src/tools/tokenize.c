/* tokenize.c: `baton tokenize`: a text as token ids, in the manner of llama-tokenize, or JSON lines both ways. */
#include "base/limits.h"
#include "text/tokenizer.h"
#include "tools/jsonl.h"
#include "tools/ui.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* All of a stream into out. */
static enum baton_status read_stream(FILE *f, const char *name, struct bt_buf *out, struct baton_error *err)
{
	char block[65536];
	size_t n;
	while ((n = fread(block, 1, sizeof block, f)) > 0) bt_buf_add(out, block, n);
	if (ferror(f)) return bt_fail(err, BATON_ERR_IO, "cannot read '%s': %s", name, strerror(errno));
	return bt_buf_check(out, err, name);
}

static enum baton_status read_text(const struct bt_opts *o, struct bt_buf *out, struct baton_error *err)
{
	const char *path = bt_opt_str(o, BT_OPT_FILE);
	if (bt_opt_flag(o, BT_OPT_STDIN)) path = "-";
	if (!path) {
		const char *text = o->n_args > 1 ? o->args[1] : bt_opt_str(o, BT_OPT_PROMPT);
		bt_buf_adds(out, text);
		return bt_buf_check(out, err, "the text");
	}
	if (!strcmp(path, "-")) return read_stream(stdin, "standard input", out, err);
	FILE *f = fopen(path, "rb");
	if (!f) return bt_fail(err, BATON_ERR_IO, "cannot open '%s': %s", path, strerror(errno));
	enum baton_status status = read_stream(f, path, out, err);
	fclose(f);
	return status;
}

static void print_ids(const struct bt_tokens *tokens)
{
	putchar('[');
	for (size_t i = 0; i < tokens->n; i++) printf("%s%d", i ? ", " : "", tokens->ids[i]);
	puts("]");
}

static enum baton_status print_pieces(const struct bt_tokenizer *t, const struct bt_tokens *tokens,
                                      struct baton_error *err)
{
	struct bt_buf piece;
	bt_buf_init(&piece, BT_MEM_TEXT, BT_LIMIT_TOKEN_BYTES);
	for (size_t i = 0; i < tokens->n; i++) {
		bt_buf_clear(&piece);
		bt_token_piece(t, tokens->ids[i], true, &piece);
		printf("%6d -> '", tokens->ids[i]);
		fwrite(bt_buf_str(&piece), 1, piece.len, stdout);
		puts("'");
	}
	enum baton_status status = bt_buf_check(&piece, err, "a token's text");
	bt_buf_free(&piece);
	return status;
}

static enum baton_status tokenize_text(const struct bt_opts *o, const struct bt_tokenizer *t, struct baton_error *err)
{
	struct bt_buf text;
	bt_buf_init(&text, BT_MEM_TEXT, BT_LIMIT_TEXT);
	struct bt_tokens tokens = {0};
	unsigned flags = (bt_opt_flag(o, BT_OPT_NO_BOS) ? 0 : BT_TOKENIZE_BOS) |
	                 (bt_opt_flag(o, BT_OPT_NO_PARSE_SPECIAL) ? 0 : BT_TOKENIZE_SPECIAL);
	enum baton_status status = read_text(o, &text, err);
	if (!status) status = bt_tokenize(t, bt_buf_str(&text), text.len, flags, &tokens, err);
	if (!status && bt_opt_flag(o, BT_OPT_IDS_ONLY)) print_ids(&tokens);
	else if (!status) status = print_pieces(t, &tokens, err);
	if (!status && bt_opt_flag(o, BT_OPT_SHOW_COUNT)) printf("Total number of tokens: %zu\n", tokens.n);
	bt_tokens_free(&tokens);
	bt_buf_free(&text);
	return status;
}

static int nibble(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	                              : -1;
}

static bool add_hex(struct bt_buf *out, const char *hex, size_t len)
{
	for (size_t i = 0; i + 1 < len; i += 2) {
		int high = nibble(hex[i]), low = nibble(hex[i + 1]);
		if (high < 0 || low < 0) return false;
		bt_buf_addc(out, (char)(high << 4 | low));
	}
	return len % 2 == 0;
}

/* {"text" or "hex"} -> {"ids"} */
static void answer_text(struct bt_jsonl *j, const struct bt_tokenizer *t, const json_t *request)
{
	const char *text, *hex;
	size_t len, hex_len;
	bool special = false, bos = false;
	if (!bt_jsonl_get_string(j, request, "text", &text, &len) ||
	    !bt_jsonl_get_string(j, request, "hex", &hex, &hex_len) ||
	    !bt_jsonl_get_bool(j, request, "parse_special", &special) ||
	    !bt_jsonl_get_bool(j, request, "add_bos", &bos))
		return;
	if (!text == !hex) {
		bt_jsonl_error(j, "a line needs one of \"text\", \"hex\" and \"ids\"");
		return;
	}
	struct bt_buf bytes;
	bt_buf_init(&bytes, BT_MEM_TEXT, BT_LIMIT_TEXT);
	struct bt_tokens tokens = {0};
	struct baton_error err = {0};
	if (hex) {
		if (!add_hex(&bytes, hex, hex_len)) {
			bt_jsonl_error(j, "\"hex\" must be an even number of hexadecimal digits");
			goto done;
		}
		text = bt_buf_str(&bytes);
		len = bytes.len;
	}
	unsigned flags = (special ? BT_TOKENIZE_SPECIAL : 0) | (bos ? BT_TOKENIZE_BOS : 0);
	if (bt_buf_check(&bytes, &err, "the text") || bt_tokenize(t, text, len, flags, &tokens, &err)) {
		bt_jsonl_error(j, "%s", err.text);
		goto done;
	}
	json_t *ids = json_array();
	for (size_t i = 0; ids && i < tokens.n; i++)
		if (json_array_append_new(ids, json_integer(tokens.ids[i]))) {
			json_decref(ids);
			ids = NULL;
		}
	bt_jsonl_reply(j, ids ? json_pack("{s:o}", "ids", ids) : NULL);
done:
	bt_tokens_free(&tokens);
	bt_buf_free(&bytes);
}

static json_t *hex_string(const struct bt_buf *bytes, struct bt_buf *scratch)
{
	static const char digits[] = "0123456789abcdef";
	bt_buf_clear(scratch);
	for (size_t i = 0; i < bytes->len; i++) {
		unsigned char b = (unsigned char)bytes->data[i];
		bt_buf_addc(scratch, digits[b >> 4]);
		bt_buf_addc(scratch, digits[b & 15]);
	}
	return scratch->status ? NULL : json_stringn(bt_buf_str(scratch), scratch->len);
}

/* {"ids"} -> {"pieces", "emit"}; ids are in range. */
static void answer_ids(struct bt_jsonl *j, const struct bt_tokenizer *t, const int32_t *ids, size_t n)
{
	struct bt_buf piece, shown;
	bt_buf_init(&piece, BT_MEM_TEXT, BT_LIMIT_TOKEN_BYTES);
	bt_buf_init(&shown, BT_MEM_TEXT, 4 * BT_LIMIT_TOKEN_BYTES);
	struct bt_utf8_stream stream = {0};
	json_t *pieces = json_array(), *emit = json_array();
	bool bad = !pieces || !emit;
	for (size_t i = 0; !bad && i < n; i++) {
		bt_buf_clear(&piece);
		bt_token_piece(t, ids[i], true, &piece);
		bad = json_array_append_new(pieces, hex_string(&piece, &shown)) || piece.status;
		bt_buf_clear(&shown);
		bt_utf8_stream_feed(&stream, bt_buf_str(&piece), piece.len, &shown);
		if (i + 1 == n) bt_utf8_stream_end(&stream, &shown);
		bad = bad || shown.status || json_array_append_new(emit, json_stringn(bt_buf_str(&shown), shown.len));
	}
	json_t *answer = bad ? NULL : json_object();
	if (!answer || json_object_set(answer, "pieces", pieces) || json_object_set(answer, "emit", emit)) {
		json_decref(answer);
		answer = NULL;
	}
	json_decref(pieces);
	json_decref(emit);
	bt_jsonl_reply(j, answer);
	bt_buf_free(&piece);
	bt_buf_free(&shown);
}

static int serve_json(const struct bt_tokenizer *t)
{
	struct bt_jsonl j;
	bt_jsonl_init(&j, stdin, stdout);
	json_t *request;
	while ((request = bt_jsonl_read(&j))) {
		int32_t *ids;
		size_t n;
		if (bt_jsonl_get_ids(&j, request, "ids", bt_tokenizer_n_vocab(t), &ids, &n)) {
			if (ids) answer_ids(&j, t, ids, n);
			else answer_text(&j, t, request);
			free(ids);
		}
		json_decref(request);
	}
	bt_jsonl_free(&j);
	return BT_EXIT_OK;
}

static int list_known(void)
{
	for (size_t i = 0; bt_tokenizer_known_pre(i); i++) puts(bt_tokenizer_known_pre(i));
	return BT_EXIT_OK;
}

int bt_tokenize_main(const struct bt_opts *o)
{
	if (bt_opt_flag(o, BT_OPT_KNOWN_PRE)) return list_known();
	bool json = bt_opt_flag(o, BT_OPT_JSON);
	int sources = (o->n_args > 1) + !!bt_opt_str(o, BT_OPT_PROMPT) + !!bt_opt_str(o, BT_OPT_FILE) +
	              bt_opt_flag(o, BT_OPT_STDIN);
	if (!o->n_args) return bt_opts_usage(o, "a model is needed");
	if (!json && sources != 1)
		return bt_opts_usage(o, "give one text: as an argument, with -f FILE, or with --stdin");
	if (json && sources) return bt_opts_usage(o, "--json reads its texts from standard input");

	struct baton_error err = {0};
	char *path = NULL;
	struct bt_gguf *g = NULL;
	struct bt_tokenizer *t = NULL;
	int rc = BT_EXIT_OK;
	enum baton_status status = bt_tool_model_path(o, o->args[0], &path, &err);
	if (!status) status = bt_gguf_open(path, &(struct bt_gguf_params){.no_data = true}, &g, &err);
	if (!status) {
		status = bt_tokenizer_open(g, &t, &err);
		if (!status && !t) status = bt_fail(&err, BATON_ERR_UNSUPPORTED, "the file has no tokenizer");
		if (status) bt_fail_prefix(&err, path);
	}
	if (!status && json) rc = serve_json(t);
	else if (!status) status = tokenize_text(o, t, &err);
	if (status) rc = bt_ui_fail(&err);
	bt_tokenizer_close(&t);
	bt_gguf_close(&g);
	bt_mem_free(path);
	return rc;
}
