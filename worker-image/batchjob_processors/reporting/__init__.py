"""How a report looks: from the document to a view (what is shown), and from the view to each format."""
