#include "api/cors.h"

#include <gtest/gtest.h>

#include <vector>

namespace sollol::api {
namespace {

struct OriginCase {
  const char* origin;
  std::vector<std::string> extra;
  bool allowed;
};

TEST(Cors, AllowsWhatOllamaAllows) {
  const OriginCase table[] = {
      {"http://localhost", {}, true},
      {"https://localhost", {}, true},
      {"http://localhost:3000", {}, true},
      {"https://127.0.0.1:8443", {}, true},
      {"http://0.0.0.0:1", {}, true},
      {"HTTP://LocalHost:80", {}, true},
      {"app://obsidian.md", {}, true},
      {"file://", {}, true},
      {"tauri://localhost", {}, true},
      {"vscode-webview://abc", {}, true},
      {"vscode-file://vscode-app", {}, true},
      {"http://localhost.evil.example", {}, false},
      {"http://localhost:80.evil.example", {}, false},
      {"http://localhost:", {}, false},
      {"http://127.0.0.2", {}, false},
      {"ftp://localhost", {}, false},
      {"https://example.com", {}, false},
      {"null", {}, false},
      {"", {}, false},
      {"https://example.com", {"https://example.com"}, true},
      {"https://EXAMPLE.com", {"https://example.COM"}, true},
      {"https://example.com:1", {"https://example.com"}, false},
      {"https://a.example.com", {"https://*.example.com"}, true},
      {"https://example.com", {"https://*.example.com"}, false},
      {"chrome-extension://xyz", {"chrome-extension://*"}, true},
      {"https://a.b.c:9", {"http://x", "https://*.b.*:9"}, true},
      {"https://any.example", {"*"}, true},
      {"null", {"*"}, true},
      {"https://any.example", {""}, false},
  };
  for (const auto& row : table) {
    SCOPED_TRACE(row.origin);
    EXPECT_EQ(origin_allowed(row.origin, row.extra), row.allowed);
  }
}

TEST(Cors, KnowsItsOwnPages) {
  EXPECT_TRUE(is_same_origin("http://gpu.lan:11434", "gpu.lan:11434"));
  EXPECT_TRUE(is_same_origin("https://GPU.lan", "gpu.lan"));
  EXPECT_FALSE(is_same_origin("http://gpu.lan", "gpu.lan:11434"));
  EXPECT_FALSE(is_same_origin("http://", ""));
  EXPECT_FALSE(is_same_origin("gpu.lan", "gpu.lan"));
}

TEST(Cors, NamesTheHeadersThatSdksSend) {
  for (const auto* header :
       {"Authorization", "Content-Type", "User-Agent", "Accept", "X-Requested-With", "OpenAI-Beta",
        "x-stainless-lang", "x-stainless-retry-count"}) {
    EXPECT_TRUE(cors_allowed_headers.contains(header)) << header;
  }
}

}  // namespace
}  // namespace sollol::api
