#include "tools/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define CONNECT_SECONDS 6L /* a network without a way to the host should not hold anybody up */
#define STALL_SECONDS   60L

/* One transfer under way. */
struct transfer {
	CURL *curl;
	const struct bt_http_request *req;
	struct bt_http_reply *reply;
	struct bt_buf *body; /* a page, or */
	int fd;              /* a file; -1: none */
	bool started;        /* the file's first byte has come */
	uint64_t at;         /* where the next byte goes */
	int disk_error;      /* errno of a failed write */
	bool cancelled;
	char message[CURL_ERROR_SIZE];
};

/* The value of a header line without blanks around it, when it has this name; else NULL. */
static const char *header_value(const char *line, size_t len, const char *name, size_t *n)
{
	size_t name_len = strlen(name);
	if (len <= name_len || strncasecmp(line, name, name_len) || line[name_len] != ':') return NULL;
	const char *v = line + name_len + 1, *end = line + len;
	while (v < end && (*v == ' ' || *v == '\t')) v++;
	while (end > v && strchr(" \t\r\n", end[-1])) end--;
	*n = (size_t)(end - v);
	return v;
}

static void copy_value(char *to, size_t size, const char *v, size_t n)
{
	if (n >= size) n = 0;
	memcpy(to, v, n);
	to[n] = 0;
}

static size_t on_header(char *line, size_t size, size_t count, void *user)
{
	struct transfer *t = user;
	size_t len = size * count, n;
	const char *v;
	if (len > 5 && !strncmp(line, "HTTP/", 5)) { /* another answer: after a redirect */
		t->reply->etag[0] = 0;
		t->reply->total = 0;
	}
	if ((v = header_value(line, len, "ETag", &n))) {
		/* A weak ETag does not promise the same bytes. */
		if (n > 2 && v[0] == '"') copy_value(t->reply->etag, sizeof t->reply->etag, v, n);
	} else if ((v = header_value(line, len, "X-Linked-Etag", &n))) {
		if (n > 2 && v[0] == '"') copy_value(t->reply->linked_etag, sizeof t->reply->linked_etag, v + 1, n - 2);
	} else if ((v = header_value(line, len, "Content-Range", &n))) { /* bytes 100-199/200 */
		const char *slash = memchr(v, '/', n);
		if (slash) t->reply->total = strtoull(slash + 1, NULL, 10);
	} else if ((v = header_value(line, len, "Content-Length", &n)) && !t->reply->total) {
		t->reply->total = strtoull(v, NULL, 10);
	}
	return len;
}

static bool write_all(int fd, const char *data, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, data, len, (off_t)at);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) return false;
		data += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
	struct transfer *t = user;
	size_t len = size * count;
	long status = 0;
	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
	if (t->body) {
		bt_buf_add(t->body, data, len);
		return t->body->status ? 0 : len;
	}
	if (status != 200 && status != 206) return len;
	if (!t->started) {
		t->started = true;
		t->at = status == 206 ? t->req->offset : 0;
		if (status == 200 && ftruncate(t->fd, 0)) {
			t->disk_error = errno;
			return 0;
		}
	}
	if (!write_all(t->fd, data, len, t->at)) {
		t->disk_error = errno;
		return 0;
	}
	t->at += len;
	t->reply->received += len;
	return len;
}

static int on_progress(void *user, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now)
{
	struct transfer *t = user;
	(void)total, (void)now, (void)up_total, (void)up_now;
	if (t->req->progress && !t->req->progress(t->req->user, t->at, t->reply->total)) t->cancelled = true;
	return t->cancelled;
}

static bool passes_away(CURLcode code)
{
	return code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
	       code == CURLE_GOT_NOTHING || code == CURLE_OPERATION_TIMEDOUT || code == CURLE_HTTP2 ||
	       code == CURLE_HTTP2_STREAM || code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST;
}

/* What libcurl came back with, as a status and a sentence. */
static enum baton_status outcome(struct transfer *t, CURLcode code, struct baton_error *err)
{
	struct bt_http_reply *r = t->reply;
	char *url = NULL;
	curl_off_t connected = 0;
	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &r->status);
	curl_easy_getinfo(t->curl, CURLINFO_EFFECTIVE_URL, &url);
	curl_easy_getinfo(t->curl, CURLINFO_CONNECT_TIME_T, &connected);
	const char *host = url ? strstr(url, "://") : NULL;
	host = host ? host + 3 : t->req->url;
	snprintf(r->host, sizeof r->host, "%.*s", (int)strcspn(host, "/?#"), host);
	if (t->cancelled) return bt_fail(err, BATON_ERR_CANCELLED, "interrupted");
	if (t->disk_error) return bt_fail(err, BATON_ERR_IO, "%s", strerror(t->disk_error));
	if (t->body && t->body->status) return bt_buf_check(t->body, err, "the answer of the hub");
	if (code == CURLE_OK) {
		r->retry = r->status == 408 || r->status == 429 || r->status >= 500;
		return BATON_OK;
	}
	r->retry = passes_away(code);
	r->unreachable = !r->status && !connected;
	return bt_fail(err, BATON_ERR_IO, "%s: %s", r->host, t->message[0] ? t->message : curl_easy_strerror(code));
}

static enum baton_status perform(struct transfer *t, struct baton_error *err)
{
	const struct bt_http_request *req = t->req;
	struct curl_slist *headers = NULL;
	char text[4096];
	*t->reply = (struct bt_http_reply){0};
	t->at = req->offset;
	t->curl = curl_easy_init();
	if (!t->curl) return bt_fail_nomem(err, sizeof *t, "a network connection");
	bool secure = !strncmp(req->url, "https:", 6);
	if (req->token && *req->token) {
		snprintf(text, sizeof text, "Authorization: Bearer %.3900s", req->token);
		headers = curl_slist_append(headers, text);
	}
	if (req->offset) {
		snprintf(text, sizeof text, "Range: bytes=%llu-", (unsigned long long)req->offset);
		headers = curl_slist_append(headers, text);
		snprintf(text, sizeof text, "If-Range: %.256s", req->etag);
		headers = curl_slist_append(headers, text);
	}
	curl_easy_setopt(t->curl, CURLOPT_URL, req->url);
	curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(t->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(t->curl, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
	curl_easy_setopt(t->curl, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(t->curl, CURLOPT_MAXREDIRS, 10L);
	curl_easy_setopt(t->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	curl_easy_setopt(t->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(t->curl, CURLOPT_LOW_SPEED_TIME, STALL_SECONDS);
	curl_easy_setopt(t->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(t->curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(t->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(t->curl, CURLOPT_XFERINFODATA, t);
	curl_easy_setopt(t->curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(t->curl, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(t->curl, CURLOPT_ERRORBUFFER, t->message);
	curl_easy_setopt(t->curl, CURLOPT_USERAGENT, "baton/" BATON_VERSION);
	enum baton_status st = outcome(t, curl_easy_perform(t->curl), err);
	curl_easy_cleanup(t->curl);
	curl_slist_free_all(headers);
	return st;
}

enum baton_status bt_http_get(const struct bt_http_request *req, struct bt_buf *body, struct bt_http_reply *reply,
                              struct baton_error *err)
{
	struct transfer t = {.req = req, .reply = reply, .body = body, .fd = -1};
	return perform(&t, err);
}

enum baton_status bt_http_download(const struct bt_http_request *req, int fd, struct bt_http_reply *reply,
                                   struct baton_error *err)
{
	struct transfer t = {.req = req, .reply = reply, .fd = fd};
	return perform(&t, err);
}
