"""A server on the loopback that behaves like the hub: an API that lists files, redirects to a second server (the
"CDN") that knows ranges and ETags, tokens, and the ways in which things go wrong."""
import hashlib
import http.server
import json
import threading
import time
import urllib.parse


class File:
    def __init__(self, data, sha256=None, **behaviour):
        self.data = data
        self.sha256 = sha256 or hashlib.sha256(data).hexdigest()
        self.etag = '"%s"' % hashlib.md5(data).hexdigest()
        self.drop = behaviour.get('drop', [])        # byte counts after which successive answers break off
        self.slow = behaviour.get('slow', 0)         # seconds between blocks of 64 KiB
        self.busy = behaviour.get('busy', 0)         # answers 503 so many times first
        self.claim = behaviour.get('claim')          # a Content-Length that is not true
        self.ranges = behaviour.get('ranges', True)
        self.listed = behaviour.get('listed', True)  # with its SHA-256 in the API's list


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass

    def reply(self, status, body=b'', **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        hub = self.server.hub
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        with hub.lock:
            hub.requests.append((self.server.role, path, dict(self.headers)))
        if self.server.role == 'cdn':
            return self.send_file(hub.cdn_files.get(path))
        parts = path.strip('/').split('/')
        if parts[:2] == ['api', 'models']:
            repo = '/'.join(parts[2:4])
            if self.refused(repo):
                return None
            return self.reply(200, self.listing(repo), Content_Type='application/json')
        repo, rest = '/'.join(parts[:2]), '/'.join(parts[4:])
        if self.refused(repo):
            return None
        file = hub.repos[repo].get(rest) if parts[2:4] == ['resolve', 'main'] else None
        if file is None:
            return self.reply(404, b'Entry not found')
        if file.busy:
            file.busy -= 1
            return self.reply(503, b'busy')
        key = '/blobs/%s/%s' % (repo, rest)
        hub.cdn_files[key] = file
        return self.reply(302, b'Found. Redirecting', Location=hub.cdn_url + urllib.parse.quote(key) + '?signature=x',
                          X_Linked_Etag='"%s"' % file.sha256, X_Linked_Size=str(len(file.data)), ETag='"not-the-blob"')

    def refused(self, repo):
        hub = self.server.hub
        token = self.headers.get('Authorization', '')
        if repo in hub.gated:
            if not token:
                self.reply(401, b'{"error":"Invalid credentials in Authorization header"}')
                return True
            if token != 'Bearer ' + hub.gated[repo]:
                self.reply(403 if token == 'Bearer unlicensed' else 401, b'{"error":"no"}')
                return True
        if repo not in hub.repos:
            self.reply(404 if token else 401, b'{"error":"Repository not found"}')
            return True
        return False

    def listing(self, repo):
        siblings = []
        for name, file in self.server.hub.repos[repo].items():
            entry = {'rfilename': name, 'size': len(file.data)}
            if file.listed:
                entry['lfs'] = {'sha256': file.sha256, 'size': len(file.data), 'pointerSize': 135}
            siblings.append(entry)
        return json.dumps({'id': repo, 'siblings': siblings}).encode()

    def send_file(self, file):
        if file is None:
            return self.reply(404)
        start, status = 0, 200
        if file.ranges and 'Range' in self.headers and self.headers.get('If-Range', file.etag) == file.etag:
            start, status = int(self.headers['Range'].split('=')[1].rstrip('-')), 206
            if start >= len(file.data):
                return self.reply(416, Content_Range='bytes */%d' % len(file.data))
        data = file.data[start:]
        self.send_response(status)
        self.send_header('ETag', file.etag)
        self.send_header('Content-Length', str(file.claim or len(data)))
        if status == 206:
            self.send_header('Content-Range', 'bytes %d-%d/%d' % (start, len(file.data) - 1, len(file.data)))
        self.end_headers()
        limit = file.drop.pop(0) if file.drop else len(data)
        try:
            for at in range(0, min(limit, len(data)), 65536):
                self.wfile.write(data[at:min(at + 65536, limit)])
                time.sleep(file.slow)
        except OSError:
            pass
        if limit < len(data) or file.claim:
            self.close_connection = True
        return None


class Hub:
    """repos: {"owner/name": {path: File}}; gated: {"owner/name": token}; requests: what came in."""

    def __init__(self):
        self.repos, self.gated, self.cdn_files, self.requests = {}, {}, {}, []
        self.lock = threading.Lock()
        self.servers = []
        self.url = self.start('hub', '127.0.0.1')
        self.cdn_url = self.start('cdn', 'localhost')

    def start(self, role, host):
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        server.hub, server.role, server.daemon_threads = self, role, True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.servers.append(server)
        return 'http://%s:%d' % (host, server.server_address[1])

    def seen(self, role):
        with self.lock:
            return [r for r in self.requests if r[0] == role]

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()
