#include "net/tls_context.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <array>
#include <cstring>
#include <string_view>

namespace sollol::net {
namespace {

/// ALPN's wire form of the one protocol spoken here.
constexpr std::array<unsigned char, 9> alpn_http = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

/// Forward secrecy and authenticated encryption for TLS 1.2; those of TLS 1.3 all have both.
constexpr const char* tls12_ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL";

/// The oldest message of OpenSSL's queue, which is the nearest to the cause; empties it.
std::string openssl_reason() {
  const unsigned long code = ERR_peek_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  std::string text = reason == nullptr ? std::string("unknown reason") : std::string(reason);
  if (code != 0 && ERR_SYSTEM_ERROR(code)) text = std::strerror(ERR_GET_REASON(code));
  ERR_clear_error();
  return text;
}

std::unexpected<Error> bad_file(std::string_view setting, const std::string& file,
                                std::string_view reason, std::string_view mend) {
  return std::unexpected(
      bad_input(fmt::format("{}: cannot use '{}': {}; {}", setting, file, reason, mend)));
}

/// A client that offers protocols must offer ours; one that offers none speaks HTTP/1.1.
int select_protocol(SSL*, const unsigned char** chosen, unsigned char* chosen_length,
                    const unsigned char* offered, unsigned offered_length, void*) {
  unsigned char* match = nullptr;
  const int found = SSL_select_next_proto(&match, chosen_length, alpn_http.data(), alpn_http.size(),
                                          offered, offered_length);
  if (found != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *chosen = match;
  return SSL_TLSEXT_ERR_OK;
}

/// An encrypted key is refused: a gateway has nobody to ask for the passphrase.
int no_passphrase(char*, int, int, void*) { return 0; }

void set_up(SSL_CTX* context) {
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(context, tls12_ciphers);
  SSL_CTX_set_options(
      context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  // Idle connections hold no record buffers; a blocked write may be tried again from elsewhere.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);  // a record in one read of the socket, not two
  SSL_CTX_set_default_passwd_cb(context, no_passphrase);
}

}  // namespace

void TlsContext::Free::operator()(ssl_ctx_st* context) const noexcept { SSL_CTX_free(context); }

Result<std::shared_ptr<const TlsContext>> TlsContext::server(const std::string& certificate_file,
                                                             const std::string& key_file) {
  ERR_clear_error();
  Handle context(SSL_CTX_new(TLS_server_method()));
  set_up(context.get());
  // Tickets resume sessions without memory here.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_alpn_select_cb(context.get(), select_protocol, nullptr);
  if (SSL_CTX_use_certificate_chain_file(context.get(), certificate_file.c_str()) != 1) {
    return bad_file("tls.cert", certificate_file, openssl_reason(),
                    "name a PEM file with the certificate and its chain");
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return bad_file("tls.key", key_file, openssl_reason(),
                    "name a PEM file with the certificate's key, without a passphrase");
  }
  if (SSL_CTX_check_private_key(context.get()) != 1) {
    return bad_file("tls.key", key_file, openssl_reason(),
                    fmt::format("it must be the key of the certificate in '{}'", certificate_file));
  }
  return std::shared_ptr<const TlsContext>(new TlsContext(std::move(context)));
}

Result<std::shared_ptr<const TlsContext>> TlsContext::client(const std::string& ca_file,
                                                             std::string_view ca_setting) {
  ERR_clear_error();
  Handle context(SSL_CTX_new(TLS_client_method()));
  set_up(context.get());
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_alpn_protos(context.get(), alpn_http.data(), alpn_http.size());
  SSL_CTX_set_default_verify_paths(context.get());
  ERR_clear_error();  // a system without a store is found out when a certificate is not trusted
  if (!ca_file.empty() &&
      SSL_CTX_load_verify_locations(context.get(), ca_file.c_str(), nullptr) != 1) {
    return bad_file(ca_setting, ca_file, openssl_reason(),
                    "name a PEM file with the certificates of the authorities to trust");
  }
  return std::shared_ptr<const TlsContext>(new TlsContext(std::move(context)));
}

}  // namespace sollol::net
