#include "support/raw_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "http/framing.h"
#include "http/head.h"

namespace sollol::test {

struct RawClient::Tls {
  explicit Tls(const std::string& ca_file)
      : context(SSL_CTX_new(TLS_client_method())), ssl(SSL_new(context)) {
    SSL_CTX_load_verify_locations(context, ca_file.c_str(), nullptr);
    SSL_set_verify(ssl, SSL_VERIFY_PEER, nullptr);
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), "127.0.0.1");
  }
  ~Tls() {
    SSL_free(ssl);
    SSL_CTX_free(context);
  }
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;
  SSL_CTX* context;
  SSL* ssl;
};

bool RawClient::secure(const std::string& ca_file) {
  tls_ = std::make_unique<Tls>(ca_file);
  SSL_set_fd(tls_->ssl, socket_);
  return SSL_connect(tls_->ssl) == 1;
}

std::string RawClient::peer_key() const {
  X509* const certificate = SSL_get1_peer_certificate(tls_->ssl);
  const ASN1_BIT_STRING* const key = X509_get0_pubkey_bitstr(certificate);
  std::string text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(key)),
                   static_cast<std::size_t>(ASN1_STRING_length(key)));
  X509_free(certificate);
  return text;
}

RawClient::RawClient(std::uint16_t port, const char* ip)
    : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const timeval limit{.tv_sec = limit_s, .tv_usec = 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  ::inet_pton(AF_INET, ip, &address.sin_addr);
  if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw std::runtime_error("connect to port " + std::to_string(port) + ": " +
                             std::strerror(errno));
  }
}

RawClient::~RawClient() { close(); }

void RawClient::close() {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
}

void RawClient::half_close() { ::shutdown(socket_, SHUT_WR); }

void RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = tls_ ? SSL_write(tls_->ssl, bytes.data(), static_cast<int>(bytes.size()))
                              : ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) {  // what the server does about it shows in its answer
      // The kernel tells of a reset once: to the send that meets it, not to the reads after it.
      if (!tls_ && errno == ECONNRESET) reset_ = true;
      return;
    }
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

bool RawClient::fill() {
  std::array<char, 65536> piece;
  const ssize_t got = tls_ ? SSL_read(tls_->ssl, piece.data(), static_cast<int>(piece.size()))
                           : ::recv(socket_, piece.data(), piece.size(), 0);
  // Over TLS an end without close_notify is no clean one.
  if (tls_ && got <= 0)
    reset_ = SSL_get_error(tls_->ssl, static_cast<int>(got)) != SSL_ERROR_ZERO_RETURN;
  silent_ = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  if (got < 0) reset_ = true;
  if (got <= 0) return false;
  buffer_.append(piece.data(), static_cast<std::size_t>(got));
  return true;
}

bool RawClient::receive_until(std::string_view text) {
  while (!buffer_.contains(text)) {
    if (!fill()) return false;
  }
  return true;
}

bool RawClient::closed() {
  while (fill()) {
  }
  return !reset_;
}

Answer RawClient::receive(Expect expect) {
  Answer answer;
  http::ResponseHead head;
  while (true) {
    const http::HeadParse parse = http::parse_response_head(buffer_, {.bytes_max = 1 << 20}, head);
    if (parse.state == http::HeadParse::State::bad)
      throw std::runtime_error("not an HTTP answer: " + buffer_);
    if (parse.state == http::HeadParse::State::complete) {
      if (head.status < 200) {
        buffer_.erase(0, parse.length);
        continue;
      }
      answer.raw = buffer_.substr(0, parse.length);
      break;
    }
    if (!fill()) return answer;
  }
  answer.status = head.status;
  for (const http::Field& field : head.fields.all()) {
    std::string name(field.name);
    std::ranges::transform(name, name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    std::string& value = answer.fields[name];
    value += (value.empty() ? "" : ", ") + std::string(field.value);
  }
  http::BodyWatcher body(
      http::response_framing(head, expect == Expect::head_only ? "HEAD" : "GET"));
  buffer_.erase(0, answer.raw.size());
  while (body.state() == http::BodyWatcher::State::reading) {
    if (buffer_.empty() && !fill()) {
      if (!reset_) body.end_of_stream();
      break;
    }
    const std::size_t used =
        body.feed(buffer_, [&](std::string_view payload) { answer.body.append(payload); });
    answer.raw += buffer_.substr(0, used);
    buffer_.erase(0, used);
  }
  answer.complete = body.done();
  return answer;
}

std::string request_text(std::string_view method, std::string_view target, std::string_view body,
                         std::string_view fields) {
  std::string text = std::string(method) + " " + std::string(target) +
                     " HTTP/1.1\r\nHost: localhost\r\n" + std::string(fields);
  if (!body.empty() || method == "POST")
    text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return text + "\r\n" + std::string(body);
}

Answer ask(std::uint16_t port, std::string_view method, std::string_view target,
           std::string_view body, std::string_view fields, const char* ip) {
  RawClient client(port, ip);
  client.send(request_text(method, target, body, fields));
  return client.receive(method == "HEAD" ? RawClient::Expect::head_only : RawClient::Expect::body);
}

}  // namespace sollol::test
