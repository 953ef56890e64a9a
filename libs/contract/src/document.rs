//! stub
use crate::system::SystemDocument;
/// p
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentProblem {
    pub line: Option<usize>,
    pub path: String,
    pub message: String,
}
impl std::fmt::Display for DocumentProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}
/// p
pub fn parse(text: &str, _expected: Option<&str>) -> Result<SystemDocument, Vec<DocumentProblem>> {
    serde_saphyr::from_str(text).map_err(|e| {
        vec![DocumentProblem { line: None, path: String::new(), message: e.to_string() }]
    })
}
