#include "sim/client.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace sollol::sim {
namespace asio = boost::asio;
namespace http = boost::beast::http;
namespace json = boost::json;
using asio::ip::tcp;

struct TestConnection::Impl {
  asio::io_context io;
  tcp::socket socket{io};
  boost::beast::flat_buffer buffer;
  boost::system::error_code error;
  std::string host;
  bool headless = false;
};

TestConnection::TestConnection(std::string_view url) : impl_(std::make_unique<Impl>()) {
  impl_->host = url.substr(std::string_view("http://").size());
  const auto colon = impl_->host.rfind(':');
  const auto port = static_cast<std::uint16_t>(std::stoi(impl_->host.substr(colon + 1)));
  const tcp::endpoint endpoint(asio::ip::make_address(impl_->host.substr(0, colon)), port);
  impl_->socket.connect(endpoint, impl_->error);
}

TestConnection::~TestConnection() = default;

bool TestConnection::connected() const { return !impl_->error; }

void TestConnection::send_raw(std::string_view bytes) {
  asio::write(impl_->socket, asio::buffer(bytes), impl_->error);
}

void TestConnection::send(const Ask& ask) {
  impl_->headless = ask.method == "HEAD";
  auto head = fmt::format("{} {} HTTP/1.1\r\n", ask.method, ask.path);
  bool host = false;
  for (const auto& [name, value] : ask.headers) {
    host |= name == "Host";
    head += fmt::format("{}: {}\r\n", name, value);
  }
  if (!host) head += fmt::format("Host: {}\r\n", impl_->host);
  if (!ask.body.empty()) head += fmt::format("Content-Length: {}\r\n", ask.body.size());
  send_raw(head + "\r\n" + ask.body);
}

Reply TestConnection::read() {
  http::response_parser<http::string_body> parser;
  parser.body_limit(boost::none);
  parser.skip(impl_->headless);
  Reply reply;
  // Beast's buffered body is not filled when a chunk callback is set: the callback keeps both.
  auto on_chunk = [&](std::uint64_t, boost::beast::string_view bytes, boost::system::error_code&) {
    reply.chunks.back() += std::string_view(bytes.data(), bytes.size());
    reply.body += std::string_view(bytes.data(), bytes.size());
    return bytes.size();
  };
  auto on_chunk_head = [&](std::uint64_t size, boost::beast::string_view,
                           boost::system::error_code&) {
    if (size != 0) reply.chunks.emplace_back();
  };
  parser.on_chunk_header(on_chunk_head);
  parser.on_chunk_body(on_chunk);
  http::read(impl_->socket, impl_->buffer, parser, impl_->error);
  const auto& message = parser.get();
  if (!parser.is_header_done()) return reply;
  reply.status = static_cast<int>(message.result_int());
  for (const auto& field : message) {
    reply.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  if (reply.chunks.empty()) reply.body = message.body();
  reply.complete = parser.is_done() && !impl_->error;
  return reply;
}

std::string TestConnection::read_some() {
  std::string out(4096, '\0');
  out.resize(impl_->socket.read_some(asio::buffer(out), impl_->error));
  return out;
}

void TestConnection::close() { impl_->socket.close(impl_->error); }

std::string Reply::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (boost::beast::iequals(key, {name.data(), name.size()})) return value;
  }
  return {};
}

json::value Reply::json() const {
  boost::system::error_code error;
  auto value = json::parse(body, error);
  EXPECT_FALSE(error) << body;
  return value;
}

json::array Reply::lines() const {
  json::array out;
  for (std::size_t at = 0; at < body.size();) {
    const auto end = body.find('\n', at);
    EXPECT_NE(end, std::string::npos) << "no line end: " << body.substr(at);
    if (end == std::string::npos) break;
    out.push_back(json::parse(body.substr(at, end - at)));
    at = end + 1;
  }
  return out;
}

json::array Reply::events() const {
  json::array out;
  for (std::size_t at = 0; at < body.size();) {
    const auto end = body.find("\n\n", at);
    EXPECT_NE(end, std::string::npos) << "no event end: " << body.substr(at);
    if (end == std::string::npos) break;
    const auto data = body.find("data: ", at) + 6;
    const auto text = body.substr(data, end - data);
    out.push_back(text == "[DONE]" ? json::value(text) : json::parse(text));
    at = end + 2;
  }
  return out;
}

std::string Reply::error() const {
  const auto value = json();
  return std::string(value.at("error").as_string());
}

Reply ask(std::string_view url, const Ask& ask) {
  TestConnection connection(url);
  EXPECT_TRUE(connection.connected()) << url;
  connection.send(ask);
  return connection.read();
}

Reply get(std::string_view url, std::string path) {
  return ask(url, {.method = "GET", .path = std::move(path)});
}

Reply post(std::string_view url, std::string path, const json::value& body) {
  return ask(url, {.path = std::move(path), .body = json::serialize(body)});
}

}  // namespace sollol::sim
