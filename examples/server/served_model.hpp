// SPDX-License-Identifier: MIT
// served_model: the model of a server, and what all that work with it share.
#pragma once

#include <bitnet/any.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/thread/thread_pool.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace server {

/// Where it is, because sessions borrow it. All of it but the name belongs to the engine's thread.
struct served_model {
    bitnet::any_model model;
    std::unique_ptr<bitnet::thread_pool> threads;
    std::string name;
    std::int64_t created = 0; ///< seconds since 1970
    std::size_t context = 0;  ///< of a session; 0: the model's
    std::optional<bitnet::token_trie> words = {};
    bool is_chatting = false; ///< whether it can write: a text embedding model cannot

    [[nodiscard]] bitnet::session_options to_session() const {
        bitnet::session_options made;
        made.context = context;
        made.prompt_chunk = 32; // the scheduler has a larger one
        return made;
    }
    /// \return the trie of its vocabulary, which is made when it is asked for first
    [[nodiscard]] bitnet::result<const bitnet::token_trie*> trie() {
        if (!words) {
            auto made = bitnet::token_trie::open(model.text());
            if (!made) {
                return std::move(made).error();
            }
            words.emplace(*std::move(made));
        }
        return &*words;
    }

    [[nodiscard]] static bitnet::result<std::unique_ptr<served_model>>
    open(bitnet::any_model model, std::string name, std::int64_t created, std::size_t context, std::size_t threads) {
        auto pool = bitnet::thread_pool::open(threads);
        if (!pool) {
            return std::move(pool).error();
        }
        auto made = std::make_unique<served_model>(
            served_model{std::move(model), *std::move(pool), std::move(name), created, context});
        made->is_chatting = !made->model.parameters().is_embedder;
        return made;
    }
};

} // namespace server
