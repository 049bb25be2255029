// SPDX-License-Identifier: MIT
// The second translation unit: it sees the light header alone.
#include "storyteller.hpp"

#include <utility>

storyteller::storyteller(bitnet::any_model model, bitnet::any_session session, bitnet::sampler choose)
    : model_(std::move(model)), session_(std::move(session)), choose_(std::move(choose)) {}

bitnet::result<std::unique_ptr<storyteller>> storyteller::open(std::string_view model_path) {
    auto model = bitnet::any_model::open(model_path);
    if (!model) {
        return failed(model);
    }
    auto session = bitnet::any_session::open(*model, {.context = 128, .threads = 2});
    if (!session) {
        return failed(session);
    }
    auto choose = bitnet::sampler::open(bitnet::sampler_options::greedy(), model->parameters().vocabulary);
    if (!choose) {
        return failed(choose);
    }
    return std::unique_ptr<storyteller>(new storyteller(*std::move(model), *std::move(session), *std::move(choose)));
}

bitnet::result<std::string> storyteller::tell(std::string_view beginning, std::size_t words) {
    auto ids = model_.text().encode(beginning);
    if (!ids) {
        return failed(ids);
    }
    if (const auto bos = model_.text().bos(); bos && model_.text().add_bos()) {
        ids->insert(ids->begin(), *bos);
    }
    session_.reset();
    if (auto fed = session_.feed(*ids); !fed) {
        return failed(fed);
    }
    std::string story;
    for (std::size_t i = 0; i < words; ++i) {
        const auto next = session_.next(choose_);
        if (!next) {
            break;
        }
        story += model_.text().bytes_of(*next);
    }
    if (session_.stopped_by() == bitnet::stop_reason::error) {
        return session_.last_error();
    }
    return story;
}
