//! Comments of `.proto` files, where descriptors carry them.
//!
//! In: a schema. Out: the comment of each of its parts. Compilers strip comments from what most services hand out by
//! reflection; descriptor files have them when made with `protoc --include_source_info`.

use std::collections::BTreeMap;

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};

/// All comments of a schema, by file and place in it.
#[derive(Debug, Default)]
pub(super) struct Comments(BTreeMap<String, BTreeMap<Vec<i32>, String>>);

impl Comments {
    /// Reads them once: files have thousands.
    pub(super) fn of(pool: &DescriptorPool) -> Self {
        let files = pool.file_descriptor_protos().map(|file| {
            let locations = file.source_code_info.iter().flat_map(|info| &info.location);
            let comments = locations.filter_map(|location| {
                let text = location.leading_comments().to_owned() + location.trailing_comments();
                Some((location.path.clone(), clean(&text)?))
            });
            (file.name().to_owned(), comments.collect())
        });
        Self(files.collect())
    }

    /// The comment above a gRPC service.
    pub(super) fn of_service(&self, service: &ServiceDescriptor) -> Option<String> {
        self.at(service.parent_file().name(), service.path())
    }

    /// The comment above a method.
    pub(super) fn of_method(&self, method: &MethodDescriptor) -> Option<String> {
        self.at(method.parent_file().name(), method.path())
    }

    /// The comment above a message.
    pub(super) fn of_message(&self, message: &MessageDescriptor) -> Option<String> {
        self.at(message.parent_file().name(), message.path())
    }

    /// The comment above a field, or behind it.
    pub(super) fn of_field(&self, field: &FieldDescriptor) -> Option<String> {
        self.at(field.parent_file().name(), field.path())
    }

    /// The comment above an enum.
    pub(super) fn of_enum(&self, of: &EnumDescriptor) -> Option<String> {
        self.at(of.parent_file().name(), of.path())
    }

    fn at(&self, file: &str, path: &[i32]) -> Option<String> {
        self.0.get(file)?.get(path).cloned()
    }
}

/// The first paragraph on one line.
pub(super) fn summary(comment: &str) -> String {
    let first = comment.split("\n\n").next().unwrap_or_default();
    first.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Without the space after `//`; nothing when nothing is said.
fn clean(comment: &str) -> Option<String> {
    let lines = comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    let text = lines.collect::<Vec<_>>().join("\n").trim().to_owned();
    Some(text).filter(|text| !text.is_empty())
}
