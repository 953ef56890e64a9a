//! Comments of `.proto` files, where descriptors carry them.
//!
//! In: descriptors with their paths into a file. Out: text. Compilers strip comments from what most services hand out by
//! reflection; descriptor files have them when made with `protoc --include_source_info`.

use prost_reflect::{
    EnumDescriptor, FieldDescriptor, FileDescriptor, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};

/// The comment above a gRPC service.
pub(super) fn of_service(service: &ServiceDescriptor) -> Option<String> {
    at(&service.parent_file(), service.path())
}

/// The comment above a method.
pub(super) fn of_method(method: &MethodDescriptor) -> Option<String> {
    at(&method.parent_file(), method.path())
}

/// The comment above a message.
pub(super) fn of_message(message: &MessageDescriptor) -> Option<String> {
    at(&message.parent_file(), message.path())
}

/// The comment above a field, or behind it.
pub(super) fn of_field(field: &FieldDescriptor) -> Option<String> {
    at(&field.parent_file(), field.path())
}

/// The comment above an enum.
pub(super) fn of_enum(of: &EnumDescriptor) -> Option<String> {
    at(&of.parent_file(), of.path())
}

/// The first paragraph on one line, and all of it.
pub(super) fn summary(comment: &str) -> String {
    let first = comment.split("\n\n").next().unwrap_or_default();
    first.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn at(file: &FileDescriptor, path: &[i32]) -> Option<String> {
    let locations = &file.file_descriptor_proto().source_code_info.as_ref()?.location;
    let location = locations.iter().find(|location| location.path == path)?;
    let comment = location.leading_comments().to_owned() + location.trailing_comments();
    let lines = comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    let text = lines.collect::<Vec<_>>().join("\n").trim().to_owned();
    Some(text).filter(|text| !text.is_empty())
}
