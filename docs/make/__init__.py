"""What makes the pages, the man pages and the pictures: from the program itself, never by hand."""
