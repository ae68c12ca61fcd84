/* http.h: fetching a page into memory and a file into a descriptor, through libcurl. */
#ifndef BT_TOOLS_HTTP_H
#define BT_TOOLS_HTTP_H

#include "base/buf.h"
#include "base/status.h"

struct bt_http_request {
	const char *url;   /* http or https; redirects are followed, from https only to https */
	const char *token; /* sent as a bearer token to the first host only; NULL: none */
	/* Ask for the rest of a file, from this byte on, as long as it is still the one with this ETag. 0: all of it. */
	uint64_t offset;
	const char *etag;
	/* Called with the bytes in the file; false stops. */
	bool (*progress)(void *user, uint64_t done, uint64_t total);
	void *user;
};

struct bt_http_reply {
	long status;           /* 200, 404, ...; 0: no answer */
	bool retry;            /* the failure may pass: a lost connection, a busy server */
	bool unreachable;      /* no connection came about */
	char host[256];        /* that the last request went to */
	char etag[256];        /* of the body, with its quotes; "" when there is none or it is weak */
	char linked_etag[256]; /* X-Linked-Etag of the hub: the SHA-256 of a large file, without quotes */
	uint64_t total;        /* bytes of the whole file, 0 when not known */
	uint64_t received;     /* bytes of it written by this call */
};

/* Both: BATON_OK when an answer came, whatever its status; BATON_ERR_IO for a failed transfer, or when the body cannot
 * be stored; BATON_ERR_CANCELLED when progress said so. The reply is filled in as far as things got. */
enum baton_status bt_http_get(const struct bt_http_request *req, struct bt_buf *body, struct bt_http_reply *reply,
                              struct baton_error *err);
/* Writes the body of a 200 or 206 answer to fd: at req->offset where the server sends the rest only, else from 0 after
 * cutting the file. Bodies of other answers are dropped. */
enum baton_status bt_http_download(const struct bt_http_request *req, int fd, struct bt_http_reply *reply,
                                   struct baton_error *err);

#endif
